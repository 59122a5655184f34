# What the HTTP recordings share, beside lib.sh: small frames, the senders' log, and the servers: Node's on 8280
# (8281 with a delay), nginx before it on 8290 (HTTP/1.1), 9090 (HTTP/2 in clear) and 8243 (TLS), behind the
# PROXY protocol on 8291, and nghttpd on 8090. Sourced.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
need node curl nginx nghttpd openssl

# As on a wire, so that heads and bodies are cut.
ip -n "$space" link set lo mtu 1500

# What the senders say they sent, a line a request: who, what, and the finding that each credential of it is,
# separated by commas, or -.
log=${out%.pcap}.log
: >"$log"
sent() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$log"; }

# curl KINDS WHAT ARGUMENT…
ask() {
    sent curl "$2" "$1"
    inside curl --silent --show-error --max-time 20 --output /dev/null "${@:3}" || echo "curl: $2: exit code $?" >&2
}

# What nginx passes on is sent by nginx once more: ask, and note that.
ask_through() {
    ask "$@"
    sent nginx "$2" "$1"
}

node_server() {
    NODE_PATH=${NODE_PATH:-$PWD/node_modules} server node "$here/http-server.js" "$1" "$work/seen.log" "${2:-0}"
    listening "$1"
}

servers() {
    mkdir -p "$work/docs" "$work/nginx"
    echo pets >"$work/docs/pets"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /C=US/ST=CA/O=WSO2/CN=localhost \
        -keyout "$work/key.pem" -out "$work/certificate.pem" 2>/dev/null
    cat >"$work/nginx.conf" <<CONF
daemon off; worker_processes 1; pid $work/nginx/pid; error_log $work/nginx/error.log; user root;
events { worker_connections 256; }
http {
    access_log off; client_body_temp_path $work/nginx/body; proxy_temp_path $work/nginx/proxy;
    fastcgi_temp_path $work/nginx/fastcgi; uwsgi_temp_path $work/nginx/uwsgi; scgi_temp_path $work/nginx/scgi;
    upstream node { server 127.0.0.1:8280; keepalive 4; }
    server {
        listen 8290; listen [::]:8290; listen 9090 http2; listen 8291 proxy_protocol;
        listen 8243 ssl; ssl_certificate $work/certificate.pem; ssl_certificate_key $work/key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {
            proxy_pass http://node; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host \$host;
            proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for;
        }
        location /files/ { alias $work/docs/; }
    }
}
CONF
    server nginx -c "$work/nginx.conf"
    server nghttpd --no-tls --echo-upload --htdocs="$work/docs" 8090
    node_server 8280
    for port in 8290 8291 9090 8243 8090; do listening "$port"; done
}
