use super::*;
use crate::classify::Basis;

const HTTP: Heard = Heard::Clear(AppProtocol::Http);
const TLS: Heard = Heard::Tls;
const AMQP: Heard = Heard::Clear(AppProtocol::Amqp);
const DATABRIDGE: Heard = Heard::Clear(AppProtocol::Databridge);
const THRIFT: Heard = Heard::Clear(AppProtocol::Thrift);
const RMI: Heard = Heard::Clear(AppProtocol::Rmi);

fn listener(port: u16, heard: &[Heard]) -> Listener {
    Listener {
        transport: Transport::Tcp,
        port,
        answered: true,
        refused: false,
        heard: heard.iter().copied().collect(),
    }
}

fn listeners(ports: &[(u16, Heard)]) -> Vec<Listener> {
    ports.iter().map(|(port, heard)| listener(*port, &[*heard])).collect()
}

fn catalog() -> &'static Catalog {
    Catalog::embedded()
}

fn read(ports: &[(u16, Heard)]) -> HostReading {
    HostReader::new(catalog()).read(&Declared::default(), &listeners(ports))
}

fn declared(products: &[&str], offset: Option<u16>) -> Declared {
    let products = products.iter().map(|name| match name.split_once('/') {
        Some((product, component)) => {
            (catalog().product_named(product).expect(product), Some(component.to_owned()))
        }
        None => (catalog().product_named(name).expect(name), None),
    });
    Declared { products: products.collect(), offset }
}

/// Returns the first instance as `product` or `product@offset`, and the confidence.
fn first(reading: &HostReading) -> (String, &'static str) {
    let shown = reading.instances.first().map_or_else(String::new, |instance| {
        let id = &catalog().product(instance.product).id;
        instance.offset.map_or_else(|| id.clone(), |offset| format!("{id}@{offset}"))
    });
    (shown, reading.confidence.name())
}

fn service_at(reading: &HostReading, port: u16) -> (String, Option<Basis>) {
    let tag = reading.service_at(catalog(), Transport::Tcp, port);
    let id = tag.service().map(|c| catalog().service(c.service).id.clone());
    (id.unwrap_or_default(), tag.basis)
}

/// Fails if what is heard on a port would be a mismatch there.
fn assert_no_mismatch(reading: &HostReading, ports: &[(u16, Heard)]) {
    for (port, heard) in ports {
        let tag = reading.service_at(catalog(), Transport::Tcp, *port);
        assert!(!tag.disagrees(catalog(), *heard), "{port} {heard:?}: {tag:?}");
        assert!(!tag.candidates.is_empty(), "{port} has no candidate");
    }
}

/// An API Manager 4.x with everything in one, at an offset.
fn all_in_one(offset: u16) -> Vec<(u16, Heard)> {
    [
        (8280, HTTP),
        (8243, TLS),
        (9443, TLS),
        (9763, HTTP),
        (5672, AMQP),
        (9611, DATABRIDGE),
        (9711, TLS),
        (9099, HTTP),
        (8099, TLS),
        (9021, HTTP),
        (8021, TLS),
        (9999, RMI),
        (11111, RMI),
    ]
    .map(|(port, heard)| (port + offset, heard))
    .to_vec()
}

#[test]
fn hosts_at_offsets_0_1_3_and_10_are_told_apart() {
    for offset in [0, 1, 3, 10, 250, 20_000] {
        let ports = all_in_one(offset);
        let reading = read(&ports);
        let expected = match offset {
            0 => "wso2-api-manager-4".to_owned(),
            offset => format!("wso2-api-manager-4@{offset}"),
        };
        assert_eq!(first(&reading), (expected, "high"), "{:?}", reading.notes(catalog()));
        assert_eq!(reading.instances.len(), 1, "{:?}", reading.instances);
        assert_eq!(reading.offset(catalog()), Some(offset));
        assert_eq!(reading.strays, []);
        assert_eq!(reading.uncatalogued, []);
        assert_no_mismatch(&reading, &ports);
        let basis = if offset == 0 { Basis::Port } else { Basis::OffsetInferred };
        assert_eq!(
            service_at(&reading, 8280 + offset),
            ("wso2-api-manager-4/gateway-http".to_owned(), Some(basis))
        );
        assert_eq!(service_at(&reading, 9443 + offset).0, "wso2-api-manager-4/servlet-https");
    }
}

#[test]
fn a_gateway_alone_shows_its_offset() {
    for offset in [0, 1, 3, 10] {
        let ports = [(8280 + offset, HTTP), (8243 + offset, TLS), (9443 + offset, TLS)];
        let reading = read(&ports);
        assert_eq!(reading.offset(catalog()), Some(offset), "{reading:?}");
        assert!(reading.confidence >= Confidence::Medium);
        assert_no_mismatch(&reading, &ports);
    }
}

#[test]
fn analytics_ports_are_its_own_on_one_host_and_offset_1_on_another() {
    let own = [(7612, THRIFT), (7712, TLS), (9444, TLS)];
    let analytics = read(&own);
    assert_eq!(first(&analytics).0, "wso2-api-manager-analytics");
    assert!(analytics.confidence >= Confidence::Low);
    let notes = analytics.notes(catalog()).join("; ");
    assert!(notes.contains("ambiguous") && notes.contains("at offset 1"), "{notes}");
    assert_no_mismatch(&analytics, &own);

    let whole = [&own[..], &[(9091, HTTP), (7444, TLS), (9643, TLS), (9612, DATABRIDGE)]].concat();
    let analytics = read(&whole);
    // Streaming Integrator at offset 1 explains all but one of them.
    assert_eq!(first(&analytics), ("wso2-api-manager-analytics".to_owned(), "medium"));
    assert_eq!(service_at(&analytics, 9444).0, "wso2-api-manager-analytics/msf4j-https");
    assert_no_mismatch(&analytics, &whole);

    let moved = [&own[..], &all_in_one(1)].concat();
    let manager = read(&moved);
    assert_eq!(first(&manager), ("wso2-api-manager-4@1".to_owned(), "high"));
    assert_eq!(service_at(&manager, 9444).0, "wso2-api-manager-4/servlet-https");
    assert_eq!(manager.offset(catalog()), Some(1));
    assert_no_mismatch(&manager, &moved);
}

#[test]
fn the_micro_integrator_and_offset_10_are_both_said() {
    let both = [(8290, HTTP), (8253, TLS)];
    let reading = read(&both);
    assert_eq!(first(&reading).0, "wso2-micro-integrator");
    assert_eq!(reading.offset(catalog()), Some(10));
    assert!(reading.confidence <= Confidence::Medium);
    let notes = reading.notes(catalog()).join("; ");
    assert!(
        notes.contains("wso2-micro-integrator as shipped (offset 10)")
            && notes.contains("wso2-api-manager-4 at offset 10"),
        "{notes}"
    );
    assert_no_mismatch(&reading, &both);

    let management = [&both[..], &[(9201, HTTP), (9164, TLS)]].concat();
    let reading = read(&management);
    assert_eq!(first(&reading), ("wso2-micro-integrator".to_owned(), "high"));
    let moved = management.iter().map(|(port, heard)| (port - 7, *heard)).collect::<Vec<_>>();
    let reading = read(&moved);
    assert_eq!(first(&reading), ("wso2-micro-integrator@3".to_owned(), "high"));
    assert_eq!(service_at(&reading, 8283).0, "wso2-micro-integrator/http");
    assert_eq!(service_at(&reading, 8283).1, Some(Basis::OffsetInferred));
    assert_no_mismatch(&reading, &moved);
}

#[test]
fn one_lone_port_proves_no_offset() {
    for port in [8281, 9444, 9446, 8290, 8283, 5673] {
        let reading = read(&[(port, if port == 8281 || port < 8300 { HTTP } else { TLS })]);
        let moved = reading.instances.iter().filter(|instance| instance.offset.is_some());
        assert_eq!(moved.count(), 0, "{port}");
        assert!(!reading.is_product(), "{port}");
    }
    let reading = read(&[(8281, HTTP)]);
    assert_eq!(reading.confidence, Confidence::None);
    assert_eq!(service_at(&reading, 8281), (String::new(), None));
    let reading = read(&[(8280, HTTP)]);
    assert_eq!(first(&reading), ("wso2-api-manager-4".to_owned(), "low"));
}

#[test]
fn ordinary_servers_are_no_product() {
    for ports in [
        &[(22, Heard::Clear(AppProtocol::Ssh)), (80, HTTP), (443, TLS)][..],
        &[(443, TLS)],
        &[(53, Heard::Clear(AppProtocol::Dns)), (22, Heard::Clear(AppProtocol::Ssh))],
        &[(8080, HTTP), (8443, TLS)],
        &[(3000, HTTP), (9090, HTTP)],
        &[(8000, HTTP), (8001, HTTP)],
        &[(9200, HTTP), (9300, Heard::Unknown)],
        &[(6379, Heard::Unknown), (5432, Heard::Unknown)],
    ] {
        let reading = read(ports);
        assert!(!reading.is_product(), "{ports:?}: {:?}", first(&reading));
        assert_eq!(reading.uncatalogued, []);
    }
}

#[test]
fn content_beats_port() {
    // Offset 1 by the numbers, but nothing there speaks what the products speak.
    let other = [(8281, AMQP), (8244, HTTP), (9444, AMQP)];
    assert!(!read(&other).is_product());
    // A port whose content does not fit is no part of an otherwise plain reading.
    let mut ports = all_in_one(0);
    ports.push((7611, HTTP));
    let reading = read(&ports);
    assert_eq!(first(&reading).0, "wso2-api-manager-4");
    assert!(!reading.instances[0].ports.iter().any(|placed| placed.port == 7611));
}

#[test]
fn one_odd_client_does_not_move_a_service() {
    let mut ports = listeners(&all_in_one(1));
    ports[0].heard.insert(TLS);
    let reading = HostReader::new(catalog()).read(&Declared::default(), &ports);
    assert_eq!(first(&reading), ("wso2-api-manager-4@1".to_owned(), "high"));
    let tag = reading.service_at(catalog(), Transport::Tcp, 8281);
    assert!(tag.disagrees(catalog(), TLS), "a ClientHello to the HTTP transport is a mismatch");
    assert!(!tag.disagrees(catalog(), HTTP));
}

#[test]
fn clear_text_on_a_moved_tls_port_is_a_mismatch() {
    let mut ports = all_in_one(1);
    ports[1].1 = HTTP;
    let reading = read(&ports);
    assert_eq!(first(&reading).0, "wso2-api-manager-4@1");
    let tag = reading.service_at(catalog(), Transport::Tcp, 8244);
    assert!(tag.disagrees(catalog(), HTTP), "{tag:?}");
}

#[test]
fn a_host_that_fits_no_offset_as_a_whole_is_of_a_partial_offset() {
    let mut ports = all_in_one(1);
    ports.retain(|(port, _)| *port != 9764);
    ports.push((9763, HTTP));
    let reading = read(&ports);
    assert_eq!(first(&reading), ("wso2-api-manager-4@1".to_owned(), "medium"));
    assert_eq!(reading.strays.len(), 1, "{:?}", reading.strays);
    assert_eq!((reading.strays[0].port, reading.strays[0].offset), (9763, 0));
    assert_eq!(service_at(&reading, 9763).0, "wso2-api-manager-4/servlet-http");
    let notes = reading.notes(catalog()).join("; ");
    assert!(notes.contains("9763/tcp is wso2-api-manager-4/servlet-http at offset 0"), "{notes}");
    assert_no_mismatch(&reading, &ports);

    let ports = [(8280, HTTP), (8243, TLS), (9099, HTTP), (9444, TLS), (9764, HTTP), (8100, TLS)];
    let reading = read(&ports);
    let strays: Vec<u16> = reading.strays.iter().map(|stray| stray.port).collect();
    assert_eq!(reading.instances.len(), 1, "{:?}", reading.instances);
    assert_eq!(strays.len(), 3, "{strays:?}");
    assert_no_mismatch(&reading, &ports);
}

#[test]
fn two_products_share_a_host() {
    let integrator = [(8290, HTTP), (8253, TLS), (9201, HTTP), (9164, TLS)];
    let ports = [&all_in_one(0)[..], &integrator].concat();
    let reading = read(&ports);
    let products: Vec<String> = reading.instances.iter().map(|i| i.describe(catalog())).collect();
    assert_eq!(products, ["wso2-api-manager-4", "wso2-micro-integrator as shipped (offset 10)"],);
    assert_eq!(reading.strays, []);
    assert_no_mismatch(&reading, &ports);

    let ports = [&all_in_one(0)[..], &all_in_one(1)].concat();
    let reading = read(&ports);
    let products: Vec<String> = reading.instances.iter().map(|i| i.describe(catalog())).collect();
    assert_eq!(products, ["wso2-api-manager-4", "wso2-api-manager-4 at offset 1"]);
    assert_eq!(reading.strays, []);
    assert_no_mismatch(&reading, &ports);
}

#[test]
fn what_the_catalogue_does_not_know_is_uncatalogued_on_a_product_only() {
    let mut ports = all_in_one(3);
    ports.push((7777, HTTP));
    ports.push((22, Heard::Clear(AppProtocol::Ssh)));
    let reading = read(&ports);
    assert_eq!(reading.uncatalogued, [(Transport::Tcp, 7777)]);
    assert_eq!(read(&[(7777, HTTP), (8280, HTTP)]).uncatalogued, []);
}

#[test]
fn what_a_product_should_open_and_nobody_tried_is_never_seen() {
    let reading = read(&[(8281, HTTP), (8244, TLS), (9444, TLS)]);
    let missing: Vec<u16> = reading.never_seen.iter().map(|placed| placed.port).collect();
    for port in [9764, 9100, 8100] {
        assert!(missing.contains(&port), "{port}: {missing:?}");
    }
    for port in [8281, 10390, 5673, 9612] {
        assert!(!missing.contains(&port), "{port}: the broker's part shows nothing: {missing:?}");
    }
}

#[test]
fn a_refused_port_speaks_against_an_offset_and_is_not_never_seen() {
    let mut ports = listeners(&[(8281, HTTP), (8244, TLS), (9444, TLS)]);
    ports.push(Listener { answered: false, refused: true, ..listener(9764, &[]) });
    let reading = HostReader::new(catalog()).read(&Declared::default(), &ports);
    assert_eq!(reading.offset(catalog()), Some(1));
    assert!(!reading.never_seen.iter().any(|placed| placed.port == 9764));
}

#[test]
fn the_site_has_the_last_word() {
    let reader = HostReader::new(catalog());
    for offset in [0, 1, 3, 10] {
        let ports = all_in_one(offset);
        let site = declared(&["wso2-api-manager-4"], Some(offset));
        let reading = reader.read(&site, &listeners(&ports));
        assert_eq!(reading.confidence, Confidence::Declared);
        assert_eq!(reading.offset(catalog()), Some(offset));
        assert_eq!(
            service_at(&reading, 8280 + offset),
            ("wso2-api-manager-4/gateway-http".to_owned(), Some(Basis::Inventory))
        );
        assert_no_mismatch(&reading, &ports);
    }
    // The user's offset replaces the built-in one.
    let site = declared(&["wso2-micro-integrator"], Some(3));
    let reading = reader.read(&site, &listeners(&[(8283, HTTP), (8293, HTTP)]));
    assert_eq!(service_at(&reading, 8283).0, "wso2-micro-integrator/http");
    assert_eq!(service_at(&reading, 8293), (String::new(), None));
    assert_eq!(reading.uncatalogued, [(Transport::Tcp, 8293)]);
}

#[test]
fn a_declared_product_without_an_offset_is_as_shipped_until_its_ports_say_otherwise() {
    let reader = HostReader::new(catalog());
    let site = declared(&["wso2-api-manager-4"], None);
    let reading = reader.read(&site, &listeners(&[(8280, HTTP)]));
    assert_eq!(service_at(&reading, 8280).1, Some(Basis::Inventory));
    let reading = reader.read(&site, &[]);
    assert_eq!(service_at(&reading, 8280).1, Some(Basis::Inventory));
    let reading = reader.read(&site, &listeners(&all_in_one(3)));
    assert_eq!(reading.offset(catalog()), Some(3));
    assert_eq!(service_at(&reading, 8283).0, "wso2-api-manager-4/gateway-http");
}

#[test]
fn a_declared_offset_that_a_port_does_not_keep_is_partial() {
    let reader = HostReader::new(catalog());
    let mut ports = all_in_one(1);
    ports.retain(|(port, _)| *port != 9764);
    ports.push((9763, HTTP));
    let site = declared(&["wso2-api-manager-4"], Some(1));
    let reading = reader.read(&site, &listeners(&ports));
    let strays: Vec<(u16, u16)> = reading.strays.iter().map(|s| (s.port, s.offset)).collect();
    assert_eq!(strays, [(9763, 0)]);
}

#[test]
fn a_declared_component_has_only_its_own_ports() {
    let reader = HostReader::new(catalog());
    let site = declared(&["wso2-api-manager-4/gateway"], Some(0));
    let reading = reader.read(&site, &listeners(&[(8280, HTTP), (9443, TLS)]));
    assert_eq!(service_at(&reading, 8280).1, Some(Basis::Inventory));
    assert_eq!(service_at(&reading, 9443).1, Some(Basis::Inventory));
    assert_eq!(service_at(&reading, 5672).1, Some(Basis::Port), "not the gateway's");
    let missing: Vec<u16> = reading.never_seen.iter().map(|placed| placed.port).collect();
    assert!(missing.contains(&8243) && !missing.contains(&5672), "{missing:?}");
}

#[test]
fn a_declared_offset_alone_narrows_the_products() {
    let reader = HostReader::new(catalog());
    let site = declared(&[], Some(10));
    let reading = reader.read(&site, &listeners(&[(8290, HTTP)]));
    let tag = reading.service_at(catalog(), Transport::Tcp, 8290);
    let ids: Vec<&str> =
        tag.candidates.iter().map(|c| catalog().service(c.service).id.as_str()).collect();
    assert!(ids.contains(&"wso2-api-manager-4/gateway-http"), "{ids:?}");
    assert_eq!(tag.basis, Some(Basis::Inventory));
}

#[test]
fn a_host_that_answers_everywhere_is_not_read() {
    let ports: Vec<Listener> = (1..=u16::MAX).map(|port| listener(port, &[])).collect();
    let reading = HostReader::new(catalog()).read(&Declared::default(), &ports);
    assert!(reading.answers_everywhere && reading.instances.is_empty());
    assert_eq!(reading.confidence, Confidence::None);
    assert_eq!(reading.uncatalogued, []);
    assert_eq!(service_at(&reading, 8280).1, Some(Basis::Port));
}

#[test]
fn a_lone_port_of_another_product_at_the_hosts_offset_is_no_mismatch() {
    // The Micro Integrator's management API at offset 6 has the number of Cassandra's Thrift.
    let ports = [(8286, HTTP), (8249, TLS), (9449, TLS), (9160, TLS)];
    let reading = read(&ports);
    assert_eq!(reading.offset(catalog()), Some(6));
    assert_no_mismatch(&reading, &ports);
    assert!(service_at(&reading, 9160).0.contains("management-https"));
}

#[test]
fn a_reading_does_not_depend_on_the_order_of_the_ports() {
    let mut ports = listeners(&[&all_in_one(0)[..], &all_in_one(3)].concat());
    let reader = HostReader::new(catalog());
    let expected = reader.read(&Declared::default(), &ports);
    ports.reverse();
    let reading = reader.read(&Declared::default(), &ports);
    assert_eq!(reading.instances, expected.instances);
    assert_eq!(reading.alternatives, expected.alternatives);
}

#[test]
fn other_products_are_known_by_their_own_ports() {
    for (expected, ports) in [
        (
            "wso2-identity-server",
            &[(9443, TLS), (9763, HTTP), (10389, Heard::Clear(AppProtocol::Ldap))][..],
        ),
        ("ibm-api-connect", &[(443, TLS), (3000, TLS), (9443, TLS), (5550, TLS), (9090, TLS)]),
        (
            "wso2-message-broker",
            &[
                (9443, TLS),
                (9763, HTTP),
                (5672, AMQP),
                (8672, TLS),
                (1883, Heard::Clear(AppProtocol::Mqtt)),
                (8883, TLS),
                (7611, THRIFT),
            ],
        ),
        (
            "wso2-streaming-integrator",
            &[(9443, TLS), (9090, HTTP), (7070, HTTP), (7443, TLS), (9611, DATABRIDGE)],
        ),
        (
            "wso2-streaming-integrator-tooling",
            &[(9390, HTTP), (9743, TLS), (7614, THRIFT), (9614, DATABRIDGE)],
        ),
        ("wso2-api-manager-4", &[(9443, TLS), (9763, HTTP), (5672, AMQP), (9611, DATABRIDGE)]),
    ] {
        let reading = read(ports);
        assert_eq!(first(&reading).0, expected, "{:?}", reading.notes(catalog()));
        assert!(reading.is_product(), "{expected}");
        assert_no_mismatch(&reading, ports);
    }
}

/// Returns what a row's own clients and servers would be heard to speak.
fn ordinary_speech(row: &Service) -> Heard {
    use crate::catalog::Encryption;
    match (row.encryption, row.protocol) {
        (Encryption::Tls, _) => TLS,
        (_, AppProtocol::Any) => Heard::Unknown,
        (_, protocol) => Heard::Clear(protocol),
    }
}

/// Returns the ports that a product opens as it ships, at a user's offset, with what is spoken there.
fn ordinary_ports(product: ProductId, offset: Option<u16>) -> Vec<(u16, Heard)> {
    let mut ports = BTreeMap::new();
    for id in &catalog().product(product).services {
        let row = catalog().service(*id);
        let there = offset.map_or(Some(row.port), |offset| row.port_at(offset));
        if let Some(crate::catalog::Port::Number(port)) = there
            && is_shown(row)
            && is_ordinary(catalog(), row)
            && row.transports.tcp
        {
            ports.entry(port).or_insert_with(|| ordinary_speech(row));
        }
    }
    ports.into_iter().collect()
}

/// Tells whether an offset is one that the reading found; that of a lone port cannot be.
fn is_known(reading: &HostReading, offset: Option<u16>) -> bool {
    offset.is_none_or(|offset| {
        let mut known =
            reading.instances.iter().map(|instance| instance.effective_offset(catalog()));
        known.any(|known| known == Some(offset))
    })
}

proptest::proptest! {
    #[test]
    fn ordinary_traffic_of_any_product_at_any_offset_is_no_mismatch(
        product in 0..catalog().products().len(),
        offset in proptest::option::of(0_u16..=12),
        chosen in proptest::collection::vec(proptest::bool::weighted(0.7), 64),
    ) {
        let product = ProductId(u16::try_from(product).unwrap());
        let mut ports = ordinary_ports(product, offset);
        let mut chosen = chosen.into_iter().cycle();
        ports.retain(|_| chosen.next().unwrap());
        let reading = read(&ports);
        if !is_known(&reading, offset) {
            return Ok(());
        }
        for (port, heard) in &ports {
            let tag = reading.service_at(catalog(), Transport::Tcp, *port);
            proptest::prop_assert!(
                !tag.disagrees(catalog(), *heard),
                "{port} {heard:?} of {} at {offset:?}: {:?} {:?}",
                catalog().product(product).id,
                tag,
                reading.notes(catalog())
            );
        }
    }

    #[test]
    fn ordinary_traffic_of_two_products_side_by_side_is_no_mismatch(
        products in proptest::array::uniform2(0..catalog().products().len()),
        offsets in proptest::array::uniform2(proptest::option::of(0_u16..=12)),
    ) {
        let ports_of = |index: usize| {
            let product = ProductId(u16::try_from(products[index]).unwrap());
            ordinary_ports(product, offsets[index])
        };
        let mut ports: BTreeMap<u16, Heard> = ports_of(1).into_iter().collect();
        ports.extend(ports_of(0));
        let ports: Vec<(u16, Heard)> = ports.into_iter().collect();
        let reading = read(&ports);
        if !offsets.iter().all(|offset| is_known(&reading, *offset)) {
            return Ok(());
        }
        for (port, heard) in &ports {
            let tag = reading.service_at(catalog(), Transport::Tcp, *port);
            proptest::prop_assert!(
                !tag.disagrees(catalog(), *heard),
                "{port} {heard:?} of {products:?} at {offsets:?}: {:?} {:?}",
                tag,
                reading.notes(catalog())
            );
        }
    }

    #[test]
    fn any_host_is_read_within_its_limits(
        ports in proptest::collection::vec((1_u16.., proptest::bool::ANY, 0_usize..5), 0..300),
        offset in proptest::option::of(proptest::prelude::any::<u16>()),
        product in proptest::option::of(0..catalog().products().len()),
    ) {
        let listeners: Vec<Listener> = ports
            .iter()
            .map(|(port, answered, heard)| Listener {
                answered: *answered,
                refused: !answered,
                ..listener(*port, &[[HTTP, TLS, AMQP, RMI, Heard::Unknown][*heard]])
            })
            .collect();
        let products = product.map(|index| (ProductId(u16::try_from(index).unwrap()), None));
        let declared = Declared { products: products.into_iter().collect(), offset };
        let reading = HostReader::new(catalog()).read(&declared, &listeners);
        for (port, _, _) in &ports {
            let tag = reading.service_at(catalog(), Transport::Tcp, *port);
            proptest::prop_assert_eq!(tag.basis.is_none(), tag.candidates.is_empty());
        }
        reading.notes(catalog());
    }
}
