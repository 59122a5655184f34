//! Tests of flows as connections: who begins, what ends, what a forger cannot do.

use super::testing::{CLIENT, SERVER, tcp, udp};
use super::*;
use crate::packet::TcpFlags;

const ACK: u8 = TcpFlags::ACK;
const SYN: u8 = TcpFlags::SYN;
const FIN: u8 = TcpFlags::FIN;
const RST: u8 = TcpFlags::RST;

fn table_of(packets: &[Packet]) -> (Table, Vec<FlowNumber>) {
    let mut table = Table::default();
    let mut numbers = Vec::new();
    for (index, packet) in packets.iter().enumerate() {
        let mut packet = *packet;
        packet.at.frame = index as u64 + 1;
        if packet.key.transport() == Transport::Tcp {
            packet.at.time = Timestamp(i64::try_from(index).unwrap() * 1_000_000);
        }
        numbers.push(table.packet(&packet).0);
    }
    (table, numbers)
}

fn handshake(isn: u32) -> Vec<Packet> {
    vec![
        tcp(CLIENT, SERVER, SYN, isn, 0, 0),
        tcp(SERVER, CLIENT, SYN | ACK, 9000, isn + 1, 0),
        tcp(CLIENT, SERVER, ACK, isn + 1, 9001, 0),
    ]
}

#[test]
fn a_whole_connection_has_zeeks_state_history_and_round_trip() {
    let mut packets = handshake(1000);
    packets.push(tcp(CLIENT, SERVER, ACK, 1001, 9001, 100));
    packets.push(tcp(SERVER, CLIENT, ACK, 9001, 1101, 50));
    packets.push(tcp(CLIENT, SERVER, ACK | FIN, 1101, 9051, 0));
    packets.push(tcp(SERVER, CLIENT, ACK | FIN, 9051, 1102, 0));
    let (table, _) = table_of(&packets);
    assert_eq!(table.len(), 1);
    let flow = table.flow(0);
    let initiator = flow.tcp.initiator().expect("a SYN was seen");
    assert_eq!(flow.key.endpoint(initiator), CLIENT.parse().unwrap());
    assert_eq!(flow.tcp.conn_state(initiator), "SF");
    assert_eq!(flow.history.to_text(initiator), "ShADdFf");
    assert_eq!(flow.handshake_ns, 2_000_000);
    assert_eq!(flow.packets[initiator.index()], 4);
    assert_eq!(flow.bytes[initiator.other().index()], 54 * 3 + 50);
}

#[test]
fn a_reused_five_tuple_after_the_end_is_another_flow() {
    let mut packets = handshake(1000);
    packets.push(tcp(CLIENT, SERVER, ACK | FIN, 1001, 9001, 0));
    packets.push(tcp(SERVER, CLIENT, ACK | FIN, 9001, 1002, 0));
    packets.extend(handshake(5000));
    let (table, numbers) = table_of(&packets);
    assert_eq!(table.len(), 2);
    assert_eq!(&numbers[5..], [1, 1, 1]);
}

#[test]
fn data_in_an_opening_that_nobody_answers_are_no_connection() {
    let mut packets = vec![tcp(CLIENT, SERVER, SYN, 1000, 0, 100)];
    let (table, _) = table_of(&packets);
    let flow = table.flow(0);
    assert!(flow.has_payload() && !flow.tcp.is_answered());
    packets.push(tcp(SERVER, CLIENT, RST | ACK, 0, 1101, 0));
    let (table, _) = table_of(&packets);
    assert!(table.flow(0).tcp.is_refused(table.flow(0).tcp.initiator().unwrap()));
    packets.truncate(1);
    packets.push(tcp(SERVER, CLIENT, SYN | ACK, 9000, 1101, 0));
    let (table, _) = table_of(&packets);
    assert!(table.flow(0).tcp.is_answered());
}

#[test]
fn a_repeated_opening_is_the_same_flow() {
    let mut packets = handshake(1000);
    packets.insert(1, packets[0]);
    packets.push(packets[2]);
    let (table, _) = table_of(&packets);
    assert_eq!(table.len(), 1);
    assert_eq!(table.flow(0).handshake_ns, 0, "nobody knows which SYN was answered");
}

#[test]
fn a_forged_syn_does_not_take_the_connection_over() {
    let mut packets = handshake(1000);
    packets.push(tcp(CLIENT, SERVER, SYN, 777_000, 0, 0));
    packets.push(tcp(CLIENT, SERVER, ACK, 1001, 9001, 100));
    packets.push(tcp(SERVER, CLIENT, ACK, 9001, 1101, 0));
    let (table, numbers) = table_of(&packets);
    assert_eq!(numbers, [0, 0, 0, 1, 0, 0]);
    assert_eq!(table.flow(1).tcp.conn_state(table.flow(1).first_side), "S0");
}

#[test]
fn an_acknowledged_opening_takes_over_though_the_old_one_never_ended() {
    let mut packets = handshake(1000);
    packets.push(tcp(CLIENT, SERVER, SYN, 777_000, 0, 0));
    packets.push(tcp(SERVER, CLIENT, SYN | ACK, 44_000, 777_001, 0));
    packets.push(tcp(CLIENT, SERVER, ACK, 777_001, 44_001, 10));
    let (table, numbers) = table_of(&packets);
    assert_eq!(numbers, [0, 0, 0, 1, 1, 1]);
    assert!(table.flow(0).is_ended() && !table.flow(1).is_ended());
}

#[test]
fn a_connection_that_was_taken_over_takes_its_five_tuple_back() {
    let mut packets = handshake(1000);
    packets.push(tcp(CLIENT, SERVER, ACK, 1001, 9001, 100));
    packets.extend(handshake(3_000_000_000));
    packets[5].tcp.seq = 2_000_000;
    packets[6].tcp.ack = 2_000_001;
    packets.push(tcp(CLIENT, SERVER, ACK, 1101, 9001, 100));
    packets.push(tcp(SERVER, CLIENT, SYN | ACK, 5, 6, 0));
    packets.push(tcp(CLIENT, SERVER, SYN, 7, 0, 0));
    packets.push(tcp(CLIENT, SERVER, ACK, 1201, 9001, 100));
    let (table, numbers) = table_of(&packets);
    assert_eq!(numbers, [0, 0, 0, 0, 1, 1, 1, 0, 2, 3, 0]);
    assert!(!table.flow(0).is_ended() && table.flow(1).is_ended());
}

#[test]
fn either_of_an_old_connection_and_its_successor_can_be_removed_first() {
    let mut packets = handshake(1000);
    packets.extend(handshake(3_000_000_000));
    packets[4].tcp.seq = 2_000_000;
    packets[5].tcp.ack = 2_000_001;
    for first in [0, 1] {
        let (mut table, _) = table_of(&packets);
        assert!(table.remove(first).is_some());
        assert_eq!(table.len(), 1);
        assert!(table.remove(1 - first).is_some());
        assert!(table.is_empty());
        let again = tcp(CLIENT, SERVER, ACK, 1001, 9001, 100);
        table.packet(&again);
        assert_eq!(table.len(), 1);
    }
}

#[test]
fn numbers_without_bytes_lead_nowhere_far() {
    let mut packets = handshake(1000);
    packets.push(tcp(CLIENT, SERVER, ACK | FIN, 1_000_000_000, 9001, 0));
    packets.push(tcp(CLIENT, SERVER, SYN, 1_000_000_500, 0, 0));
    packets.push(tcp(CLIENT, SERVER, ACK, 1001, 9001, 100));
    let (_, numbers) = table_of(&packets);
    assert_eq!(numbers, [0, 0, 0, 0, 1, 0]);
}

#[test]
fn one_sided_data_of_a_new_opening_takes_over() {
    let packets = [
        tcp(CLIENT, SERVER, SYN, 1000, 0, 0),
        tcp(CLIENT, SERVER, ACK, 1001, 9001, 50),
        tcp(CLIENT, SERVER, SYN, 600_000, 0, 0),
        tcp(CLIENT, SERVER, ACK, 600_001, 4001, 50),
        tcp(CLIENT, SERVER, ACK, 600_051, 4001, 50),
    ];
    let (table, numbers) = table_of(&packets);
    assert_eq!(numbers, [0, 0, 1, 1, 1]);
    assert_eq!(table.len(), 2);
}

#[test]
fn a_reset_outside_the_window_changes_nothing() {
    let mut packets = handshake(1000);
    packets.push(tcp(SERVER, CLIENT, RST, 3_000_000_000, 0, 0));
    packets.push(tcp(CLIENT, SERVER, ACK, 1001, 9001, 10));
    let (table, _) = table_of(&packets);
    let flow = table.flow(0);
    assert_eq!(flow.tcp.conn_state(flow.first_side), "S1");
    assert_eq!(flow.packets_total(), 5);
}

#[test]
fn a_refused_opening_is_rejected() {
    let packets =
        [tcp(CLIENT, SERVER, SYN, 1000, 0, 0), tcp(SERVER, CLIENT, RST | ACK, 0, 1001, 0)];
    let (table, _) = table_of(&packets);
    let flow = table.flow(0);
    assert_eq!(flow.tcp.conn_state(flow.first_side), "REJ");
    assert!(flow.tcp.is_refused(flow.first_side) && !flow.tcp.is_answered());
}

#[test]
fn an_answer_alone_tells_who_began() {
    let (table, _) = table_of(&[tcp(SERVER, CLIENT, SYN | ACK, 9000, 1001, 0)]);
    let flow = table.flow(0);
    let initiator = flow.tcp.initiator().expect("a SYN/ACK was seen");
    assert_eq!(flow.key.endpoint(initiator), CLIENT.parse().unwrap());
    assert_eq!(flow.tcp.conn_state(initiator), "OTH", "nothing of the initiator was seen");
}

#[test]
fn a_long_idle_tcp_connection_stays_one_flow_and_a_udp_exchange_does_not() {
    let mut table = Table::default();
    let mut packet = tcp(CLIENT, SERVER, ACK, 1, 1, 10);
    table.packet(&packet);
    packet.at.time = Timestamp::from_parts(86_400, 0);
    packet.tcp.seq = 11;
    table.packet(&packet);
    assert_eq!(table.len(), 1);
    for seconds in [0, 180, 361] {
        table.packet(&udp(CLIENT, SERVER, seconds, 10));
    }
    assert_eq!(table.len(), 3, "the third datagram came 181 seconds after the second");
}

#[test]
fn a_connection_whose_end_was_only_counted_is_over() {
    let (mut table, numbers) = table_of(&handshake(1000));
    let data = tcp(CLIENT, SERVER, ACK, 1001, 9001, 100);
    for (ended, is_over) in [(1, false), (2, true)] {
        table.count(&data, &FlowCount { ended, ..count_of(&data, 1) });
        assert_eq!(table.flow(numbers[0]).is_over(Timestamp(0)), is_over);
    }
}

/// What a kernel says of packets that it gave in no frame.
fn count_of(packet: &Packet, packets: u64) -> FlowCount {
    FlowCount {
        key: packet.key,
        vlans: [0; 2],
        side: packet.side,
        point: packet.point,
        packets,
        bytes: packets * 100,
        lost: 0,
        merged: false,
        ended: 0,
        opens: false,
        isn: None,
        next_seq: None,
        belongs: None,
        begun: Timestamp(0),
        last: Timestamp(77),
    }
}

#[test]
fn counts_from_a_kernel_add_to_the_flow_and_move_its_window() {
    let (mut table, numbers) = table_of(&handshake(1000));
    let data = tcp(CLIENT, SERVER, ACK, 1001, 9001, 100);
    let far = 1001 + (8 << 20);
    let count = FlowCount { next_seq: Some(far), ..count_of(&data, 5000) };
    assert_eq!(table.count(&data, &count), numbers[0]);
    let flow = table.flow(numbers[0]);
    assert_eq!((flow.packets[data.side.index()], flow.last), (5002, Timestamp(2_000_000)));
    let reset = tcp(CLIENT, SERVER, RST, far, 0, 0);
    table.packet(&reset);
    assert!(table.flow(numbers[0]).tcp.is_over(), "the reset lies in the window");
}

#[test]
fn counts_go_to_the_connection_whose_numbers_they_fit() {
    let (mut table, numbers) = table_of(&handshake(1000));
    let opening = tcp(CLIENT, SERVER, SYN, 4000, 0, 0);
    let beside = table.packet(&opening).0;
    assert_ne!(beside, numbers[0]);
    let ack = tcp(CLIENT, SERVER, ACK, 0, 0, 0);
    let of = |belongs| FlowCount { belongs, ..count_of(&ack, 1) };
    assert_eq!(table.count(&ack, &of(Some(4001))), beside);
    assert_eq!(table.count(&ack, &of(Some(4300))), beside);
    assert_eq!(table.count(&ack, &of(Some(1300))), numbers[0]);
    assert_eq!(table.count(&ack, &of(None)), numbers[0]);
}

#[test]
fn a_lost_opening_begins_another_flow() {
    let (mut table, numbers) = table_of(&handshake(1000));
    let data = tcp(CLIENT, SERVER, ACK, 5, 9, 100);
    let lost = FlowCount { opens: true, lost: 3, isn: Some(4000), ..count_of(&data, 4) };
    let second = table.count(&data, &lost);
    assert_ne!(second, numbers[0]);
    assert!(table.flow(second).has_payload());
    assert_eq!(table.count(&data, &count_of(&data, 2)), second);
    assert_eq!(table.flow(second).packets_total(), 6);
    assert_eq!(table.flow(numbers[0]).packets_total(), 3);
    let repeated = tcp(CLIENT, SERVER, SYN, 4000, 0, 0);
    assert_eq!(table.packet(&repeated).0, second, "its SYN, sent again, opens nothing");
}

#[test]
fn a_forged_opening_makes_a_key_contested_until_it_is_settled() {
    let mut packets = handshake(1000);
    let (table, _) = table_of(&packets);
    let first = packets[0];
    assert_eq!(table.is_contested(first.hash, &first.key), Some(false));
    packets.push(tcp(CLIENT, SERVER, SYN, 5000, 0, 0));
    let (table, _) = table_of(&packets);
    assert_eq!(table.is_contested(first.hash, &first.key), Some(true));
    packets.push(tcp(SERVER, CLIENT, SYN | ACK, 700, 5001, 0));
    let (table, _) = table_of(&packets);
    assert_eq!(table.is_contested(first.hash, &first.key), Some(false));
    let other = udp(CLIENT, SERVER, 0, 1);
    assert_eq!(table.is_contested(other.hash, &other.key), None);
}

/// A connection of which the first packets are given, and then goes on from the numbers that it was set up with.
fn goes_on(opening: &[Packet], [client, server]: [u32; 2]) -> (Table, Vec<FlowNumber>) {
    let mut packets = opening.to_vec();
    packets.push(tcp(CLIENT, SERVER, ACK, client, server, 0));
    packets.push(tcp(CLIENT, SERVER, ACK, client, server, 100));
    packets.push(tcp(SERVER, CLIENT, ACK, server, client + 100, 50));
    packets.push(tcp(CLIENT, SERVER, ACK | FIN, client + 100, server + 50, 0));
    packets.push(tcp(SERVER, CLIENT, ACK | FIN, server + 50, client + 101, 0));
    table_of(&packets)
}

#[test]
fn of_several_answers_to_one_opening_the_acknowledged_one_counts() {
    let opening = tcp(CLIENT, SERVER, SYN, 1000, 0, 0);
    let answer = |isn: u32| tcp(SERVER, CLIENT, SYN | ACK, isn, 1001, 0);
    for [first, second] in [[111, 7_777_777], [7_777_777, 111], [5000, 5100], [1, (1 << 31) + 9]] {
        for repeats in [&[opening][..], &[]] {
            let packets = [&[opening, answer(first)][..], repeats, &[answer(second)]].concat();
            let (table, numbers) = goes_on(&packets, [1001, second + 1]);
            let flow = table.flow(*numbers.last().unwrap());
            let initiator = flow.tcp.initiator().expect("an answer was seen");
            assert_eq!(flow.key.endpoint(initiator), CLIENT.parse().unwrap());
            assert_eq!(flow.tcp.conn_state(initiator), "SF", "{first} {second}");
            assert_eq!(flow.history.to_text(initiator), "ShADdFf", "{first} {second}");
            assert_eq!(flow.packets[initiator.other().index()], 3, "{first} {second}");
            assert_eq!(flow.tcp.stream_start(initiator), Some(1001));
            // A forged second answer changes nothing.
            let (table, numbers) = goes_on(&packets, [1001, first + 1]);
            assert_eq!(*numbers.last().unwrap(), 0, "{first} {second}");
            assert_eq!(table.flow(0).tcp.conn_state(initiator), "SF", "{first} {second}");
        }
    }
}

#[test]
fn what_came_before_the_answer_to_an_opening_does_not_keep_it_away() {
    let opening = tcp(CLIENT, SERVER, SYN, 1000, 0, 0);
    let answer = tcp(SERVER, CLIENT, SYN | ACK, 5000, 1001, 0);
    let refusal = tcp(SERVER, CLIENT, RST | ACK, 0, 1001, 0);
    // What is left of a connection of before acknowledges its own numbers, and is reset.
    let left = |seq: u32| tcp(SERVER, CLIENT, ACK, seq, 777_777_777, 0);
    let reset = tcp(CLIENT, SERVER, RST, 777_777_777, 0, 0);
    for opening in [
        vec![opening, refusal, opening, answer],
        vec![opening, left(9_000_000), reset, opening, answer],
        vec![opening, left(1000), reset, opening, answer],
    ] {
        let (table, _) = goes_on(&opening, [1001, 5001]);
        assert_eq!(table.len(), 1);
        let flow = table.flow(0);
        let initiator = flow.tcp.initiator().expect("a SYN was seen");
        assert_eq!(flow.tcp.conn_state(initiator), "SF");
        assert_eq!(flow.tcp.stream_start(initiator.other()), Some(5001));
    }
}
