//! ATRs composed from values that must be read back.

use crate::Atr;
use crate::atr::{
    ClockStop, ContactC6, ErrorDetection, InterfaceMeaning, InterfaceName, Mode, Tck,
};

/// A seeded random number generator: SplitMix64.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    pub(super) fn byte(&mut self) -> u8 {
        (self.next() >> 32) as u8
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Mostly present or mostly absent.
    fn maybe(&mut self, byte: u8) -> Option<u8> {
        (self.below(2) == 0).then_some(byte)
    }

    fn pick(&mut self, from: &[u8]) -> u8 {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A group TAi, TBi, TCi, and T of the preceding TD.
#[derive(Debug, Clone, Default)]
struct Group {
    t: u8,
    bytes: [Option<u8>; 3],
}

/// Composes an ATR without interpreting the values.
fn build(groups: &[Group], historical: &[u8]) -> Vec<u8> {
    let y = |at: usize| {
        let group = &groups[at];
        let present = |bit: usize| u8::from(group.bytes[bit].is_some()) << bit;
        let td = u8::from(at + 1 < groups.len()) << 3;
        (present(0) | present(1) | present(2) | td) << 4
    };
    let mut atr = vec![0x3B, y(0) | historical.len() as u8];
    for (at, group) in groups.iter().enumerate() {
        atr.extend(group.bytes.iter().flatten());
        if let Some(next) = groups.get(at + 1) {
            atr.push(y(at + 1) | next.t);
        }
    }
    atr.extend(historical);
    if groups.iter().skip(1).any(|group| group.t != 0) {
        atr.push(atr.iter().skip(1).fold(0, |sum, byte| sum ^ byte));
    }
    atr
}

#[test]
fn composed_atrs_are_read_back() {
    let mut random = Random::new(7816);
    let (mut with_t1, mut with_global, mut plain, mut compared) = (0, 0, 0, 0);
    for _ in 0..20_000 {
        let fi_di = random.pick(&[0x01, 0x11, 0x18, 0x96, 0x97, 0xD9, 0x34]);
        let (tb1, tc1) = (random.byte(), random.byte());
        let ta2 = random.pick(&[0x00, 0x01, 0x80, 0x81, 0x91]);
        let wi = random.byte().max(1);
        let ifsc = random.byte().clamp(1, 254);
        let times = random.below(10) as u8 * 16 + random.below(16) as u8;
        let edc = random.below(2) as u8;
        let ui = random.below(4) as u8 * 64 + random.pick(&[1, 2, 3, 4, 6, 7]);
        let spu = random.byte();

        let mut groups = vec![Group {
            t: 0,
            bytes: [random.maybe(fi_di), random.maybe(tb1), random.maybe(tc1)],
        }];
        // T=0 first if offered, then T=1, and the global bytes last.
        let (t0, t1, global) = match random.below(5) {
            0 => (true, false, false),
            1 => (true, true, false),
            2 => (false, true, false),
            3 => (true, false, true),
            _ => (false, true, true),
        };
        let second = [random.maybe(ta2), None, random.maybe(wi).filter(|_| t0)];
        if t0 {
            groups.push(Group {
                t: 0,
                bytes: second,
            });
        } else {
            groups.push(Group {
                t: 1,
                bytes: second,
            });
        }
        if t1 {
            let bytes = [random.maybe(ifsc), random.maybe(times), random.maybe(edc)];
            groups.push(Group { t: 1, bytes });
        }
        if global {
            let bytes = [random.maybe(ui), random.maybe(spu), None];
            groups.push(Group { t: 15, bytes });
        }
        let mut historical = vec![0x5A; random.below(16) as usize];
        for byte in historical.iter_mut().skip(1) {
            *byte = random.byte();
        }
        let bytes = build(&groups, &historical);
        if bytes.len() > Atr::MAX_LEN {
            continue;
        }
        compared += 1;
        let reading = Atr::new(&bytes).unwrap().parse();
        let context = format!("{reading}\n{groups:02X?}");

        assert_eq!(reading.problems(), [], "{context}");
        assert_eq!(reading.historical().as_bytes(), historical, "{context}");
        let offered: &[u8] = match (t0, t1) {
            (true, true) => &[0, 1],
            (true, false) => &[0],
            _ => &[1],
        };
        assert_eq!(reading.offered(), offered, "{context}");
        let expected = if t1 || global {
            Tck::Correct
        } else {
            Tck::NotNeeded
        };
        assert_eq!(reading.tck(), expected, "{context}");

        let [first, second] = [&groups[0].bytes, &groups[1].bytes];
        assert_eq!(reading.bit_rate().raw(), first[0].unwrap_or(0x11));
        assert_eq!(reading.programming().map(|it| it.raw()), first[1]);
        assert_eq!(reading.extra_guard_time().n(), first[2].unwrap_or(0));
        match (reading.mode(), second[0]) {
            (Mode::Negotiable, None) => {}
            (Mode::Specific(mode), Some(raw)) => {
                assert_eq!(mode.raw(), raw);
                assert_eq!(mode.protocol(), raw & 0x0F);
                assert_eq!(mode.is_changeable(), raw < 0x80);
                assert_eq!(mode.is_implicit(), raw == 0x91);
            }
            other => panic!("{other:?}\n{context}"),
        }
        let t0_wi = reading.t0().map(|it| it.waiting_time_integer());
        assert_eq!(t0_wi, t0.then(|| second[2].unwrap_or(10)), "{context}");
        let group = |t| groups.iter().skip(2).find(|group| group.t == t);
        assert_eq!(reading.t1().is_some(), t1, "{context}");
        if let (Some(read), Some(group)) = (reading.t1(), group(1)) {
            with_t1 += 1;
            assert_eq!(read.information_field_size(), group.bytes[0].unwrap_or(32));
            let times = group.bytes[1].unwrap_or(0x4D);
            assert_eq!(read.block_waiting_integer(), times >> 4);
            assert_eq!(read.character_waiting_integer(), times & 0x0F);
            assert_eq!(read.character_waiting_time(), 11 + (1 << (times & 0x0F)));
            let edc = match group.bytes[2] {
                Some(1) => ErrorDetection::Crc,
                _ => ErrorDetection::Lrc,
            };
            assert_eq!(read.error_detection(), edc);
        }
        let bytes = group(15).map_or([None; 3], |group| group.bytes);
        with_global += i32::from(bytes[0].is_some());
        plain += i32::from(bytes[0].is_none());
        let raw = bytes[0].unwrap_or(1);
        let stop = [
            ClockStop::NotSupported,
            ClockStop::Low,
            ClockStop::High,
            ClockStop::NoPreference,
        ];
        assert_eq!(reading.clock_stop(), stop[usize::from(raw >> 6)]);
        assert_eq!(reading.operating_classes().bits(), raw & 0x3F);
        let expected = match bytes[1].unwrap_or(0) {
            0 => ContactC6::NotUsed,
            standard @ 1..=0x7F => ContactC6::Standard(standard),
            other => ContactC6::Proprietary(other - 0x80),
        };
        assert_eq!(reading.contact_c6(), expected, "{context}");
    }
    // The loop has covered all kinds.
    assert!(compared > 10_000 && with_t1 > 1000 && with_global > 1000 && plain > 1000);
}

#[test]
fn only_the_first_byte_of_a_kind_has_a_meaning() {
    let group = |t, bytes| Group { t, bytes };
    let bytes = build(
        &[
            Group::default(),
            group(1, [None; 3]),
            group(1, [Some(0xFE), None, None]),
            group(1, [Some(0x00), Some(0x45), Some(0x01)]),
            group(15, [Some(0x03), None, Some(0x77)]),
        ],
        &[],
    );
    let reading = Atr::new(&bytes).unwrap().parse();
    assert_eq!(reading.problems(), []);
    let t1 = reading.t1().unwrap();
    assert_eq!(t1.information_field_size(), 254);
    assert_eq!(t1.block_waiting_integer(), 4);
    assert_eq!(t1.error_detection(), ErrorDetection::Crc);
    let meaning = |letter, index| {
        let name = InterfaceName::new(letter, index);
        let mut bytes = reading.interface_bytes().iter();
        bytes.find(|byte| byte.name() == name).unwrap().meaning()
    };
    assert_eq!(meaning('A', 4), InterfaceMeaning::Unassigned { t: 1 });
    assert_eq!(meaning('C', 5), InterfaceMeaning::Unassigned { t: 15 });
}
