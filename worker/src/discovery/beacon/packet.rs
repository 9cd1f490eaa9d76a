//! A beacon's bytes: magic, number of the key, session, sequence number, then the sender's node and interface, each
//! after its length, then HMAC-SHA256 (RFC 2104) over all of that, cut to its first half (section 5).

use ring::hmac;

const MAGIC: [u8; 4] = *b"phxb";
const TAG: usize = 16;
const LONGEST_NAME: usize = 64;
/// The longest beacon, bytes.
pub(super) const LONGEST: usize = MAGIC.len() + 4 + 8 + 8 + 2 * (1 + LONGEST_NAME) + TAG;

/// What a port says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    pub node: String,
    pub interface: String,
    /// The life of its sender: another after each start, at random.
    pub session: u64,
    /// Higher in every beacon of the port in a session: microseconds since the epoch as its sender counts them, and one
    /// more than the last where its clock went back.
    pub sequence: u64,
}

/// The keys that beacons are signed with: the newest, and the one before.
#[derive(Clone, Default)]
pub struct Keys {
    newest: Option<(u32, hmac::Key)>,
    before: Option<(u32, hmac::Key)>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |key: &Option<(u32, hmac::Key)>| key.as_ref().map(|(number, _)| *number);
        f.debug_struct("Keys")
            .field("newest", &number(&self.newest))
            .field("before", &number(&self.before))
            .finish()
    }
}

impl Keys {
    /// Without any key no beacon leaves and none is heard.
    pub fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// The newest, unless it is known.
    pub fn add(&mut self, number: u32, key: &[u8; 32]) {
        if self.newest.as_ref().is_some_and(|(newest, _)| *newest == number) {
            return;
        }
        self.before = self.newest.replace((number, hmac::Key::new(hmac::HMAC_SHA256, key)));
    }

    /// Signed with the newest key; `None` without one, and for names that fit no beacon.
    pub fn seal(&self, beacon: &Beacon) -> Option<Vec<u8>> {
        let (number, key) = self.newest.as_ref()?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(number.to_be_bytes());
        bytes.extend(beacon.session.to_be_bytes());
        bytes.extend(beacon.sequence.to_be_bytes());
        for name in [&beacon.node, &beacon.interface] {
            if name.len() > LONGEST_NAME {
                return None;
            }
            bytes.push(u8::try_from(name.len()).ok()?);
            bytes.extend(name.as_bytes());
        }
        let tag = hmac::sign(key, &bytes);
        bytes.extend(&tag.as_ref()[..TAG]);
        Some(bytes)
    }

    /// `None` for what was not signed with either key, and for what is no beacon.
    pub fn open(&self, bytes: &[u8]) -> Option<Beacon> {
        let (signed, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG)?)?;
        let rest = signed.strip_prefix(&MAGIC)?;
        let (number, rest) = rest.split_first_chunk()?;
        let number = u32::from_be_bytes(*number);
        let (_, key) =
            [&self.newest, &self.before].into_iter().flatten().find(|(known, _)| *known == number)?;
        let right = hmac::sign(key, signed);
        // Whether all bytes are equal, in the same time for any.
        let difference = right.as_ref().iter().zip(tag).fold(0, |sum, (a, b)| sum | (a ^ b));
        if difference != 0 {
            return None;
        }
        let (session, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (node, rest) = name(rest)?;
        let (interface, rest) = name(rest)?;
        let (session, sequence) = (u64::from_be_bytes(*session), u64::from_be_bytes(*sequence));
        rest.is_empty().then_some(Beacon { node, interface, session, sequence })
    }
}

fn name(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let name = std::str::from_utf8(name).ok()?;
    let fits = !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains(char::is_control);
    fits.then(|| (name.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beacon() -> Beacon {
        Beacon { node: "n1-0a1b2c".to_owned(), interface: "eth0".to_owned(), session: 1, sequence: 7 }
    }

    fn keys(number: u32, byte: u8) -> Keys {
        let mut keys = Keys::default();
        keys.add(number, &[byte; 32]);
        keys
    }

    #[test]
    fn a_beacon_is_opened_with_the_key_it_was_sealed_with_and_with_no_other() {
        let sealed = keys(1, 7).seal(&beacon()).unwrap();
        assert!(sealed.len() <= LONGEST);
        assert_eq!(keys(1, 7).open(&sealed), Some(beacon()));
        assert_eq!(keys(1, 8).open(&sealed), None, "another key of that number");
        assert_eq!(keys(2, 7).open(&sealed), None, "a key of another number");
        assert_eq!(Keys::default().open(&sealed), None);
        assert_eq!(Keys::default().seal(&beacon()), None);
    }

    #[test]
    fn the_key_before_the_newest_still_counts_and_the_one_before_that_does_not() {
        let mut keys = keys(1, 1);
        let first = keys.seal(&beacon()).unwrap();
        keys.add(2, &[2; 32]);
        keys.add(2, &[2; 32]);
        assert_eq!(keys.open(&first), Some(beacon()), "told twice, changed once");
        keys.add(3, &[3; 32]);
        assert_eq!(keys.open(&first), None);
    }

    #[test]
    fn no_cut_and_no_changed_bit_is_a_beacon() {
        let keys = keys(1, 7);
        let sealed = keys.seal(&beacon()).unwrap();
        for length in 0..sealed.len() {
            assert_eq!(keys.open(&sealed[..length]), None, "{length} bytes");
        }
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(keys.open(&changed), None, "bit {bit}");
        }
        let long = Beacon { interface: "x".repeat(65), ..beacon() };
        assert_eq!(keys.seal(&long), None);
    }

    #[test]
    fn keys_are_not_in_what_a_log_would_show() {
        assert_eq!(format!("{:?}", keys(5, 7)), "Keys { newest: Some(5), before: None }");
    }
}
