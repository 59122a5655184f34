mod documents;
mod errors;
mod readme;

use super::*;

#[test]
fn the_embedded_files_load() {
    assert!(!Catalog::embedded().services().is_empty());
}

#[test]
fn the_embedded_files_match_the_directory() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog");
    let mut files: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let embedded: Vec<&str> = embedded::FILES.iter().map(|(name, _)| *name).collect();
    assert_eq!(embedded, files, "catalog/ and src/catalog/embedded.rs differ");
}

#[test]
fn either_is_said_only_where_the_documents_leave_it_open() {
    let catalog = Catalog::embedded();
    for service in catalog.services() {
        let open = service.protocol == AppProtocol::Rmi
            || service.base_port().is_some_and(|port| [9099, 10397, 10500].contains(&port));
        assert_eq!(service.encryption == Encryption::Either, open, "{}", service.id);
    }
}

#[test]
fn both_transports_are_said_only_where_nothing_decides() {
    let catalog = Catalog::embedded();
    for service in catalog.services() {
        let open = matches!(service.protocol, AppProtocol::Kerberos | AppProtocol::Dns)
            || service.port == Port::Number(44135)
            || service.id == "ibm-api-connect/t1-12-analytics-offload";
        let both = service.transports.tcp && service.transports.udp;
        assert_eq!(both, open, "{}", service.id);
    }
}

#[test]
fn the_two_ends_of_jmx_are_named_as_the_configuration_names_them() {
    let catalog = Catalog::embedded();
    for service in catalog.services().iter().filter(|service| service.role == Role::Jmx) {
        let Some(base) = service.base_port() else { continue };
        match base {
            9999 => assert!(service.name.contains("registry"), "{}", service.id),
            11111 => assert!(service.name.contains("server"), "{}", service.id),
            _ => continue,
        }
        assert_ne!(service.status, Status::Confirmed, "{}", service.id);
    }
}

#[test]
fn the_first_candidate_of_a_port_is_its_best_name() {
    let catalog = Catalog::embedded();
    for (transport, port, id) in [
        (Transport::Tcp, 8280, "wso2-api-manager-4/gateway-http"),
        (Transport::Tcp, 8243, "wso2-api-manager-4/gateway-https"),
        (Transport::Tcp, 9443, "wso2-api-manager-4/servlet-https"),
        (Transport::Tcp, 8290, "wso2-micro-integrator/http"),
        (Transport::Tcp, 7612, "wso2-api-manager-analytics/thrift"),
        (Transport::Tcp, 10389, "wso2-identity-server/embedded-ldap"),
        (Transport::Tcp, 9999, "wso2-api-manager-4/jmx-registry"),
        (Transport::Tcp, 4003, "wso2-api-manager-4/cluster-member"),
        (Transport::Tcp, 443, "ibm-api-connect/t1-01-api-traffic"),
        (Transport::Udp, 8000, "wso2-identity-server/kdc"),
        (Transport::Tcp, 5229, "wso2-iot-server/fcm"),
    ] {
        let first = catalog.candidates(transport, port)[0];
        assert_eq!(catalog.service(first.service).id, id, "{port}/{transport:?}");
    }
}

#[test]
fn built_in_offsets_are_replaced_not_added_to() {
    let catalog = Catalog::embedded();
    for (id, at_0, at_3) in [
        ("wso2-micro-integrator/http", 8280, 8283),
        ("wso2-micro-integrator/https", 8243, 8246),
        ("wso2-micro-integrator/management-http", 9191, 9194),
        ("wso2-micro-integrator/management-https", 9154, 9157),
        ("wso2-streaming-integrator-tooling/http", 9387, 9390),
        ("wso2-streaming-integrator-tooling/https", 9740, 9743),
        ("wso2-enterprise-integrator/business-process-servlet-https", 9443, 9446),
        ("wso2-enterprise-integrator/business-process-jmx-registry", 9999, 10002),
        ("wso2-enterprise-integrator/broker-mqtt", 1883, 1886),
        ("wso2-api-manager-analytics/thrift", 7611, 7614),
        ("wso2-api-manager-analytics/dashboard-https", 9640, 9643),
        ("wso2-api-manager-analytics/store-https", 7444, 7444),
        ("wso2-iot-server/analytics-servlet-http", 9763, 9766),
        ("wso2-api-manager-4/cluster-member", 4000, 4000),
        ("wso2-api-manager-4/cluster-multicast", 45564, 45564),
    ] {
        let service = catalog.service(catalog.service_named(id).expect(id));
        assert_eq!(service.port_at(0), Some(Port::Number(at_0)), "{id}");
        assert_eq!(service.port_at(3), Some(Port::Number(at_3)), "{id}");
    }
}
