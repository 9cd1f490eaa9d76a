//! A set of CPUs or of NUMA nodes, as the kernel writes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::text::shown;

/// Ids of CPUs (or of NUMA nodes), written as the kernel's list: `0-3,8`.
///
/// The list and the mask are those of `Documentation/admin-guide/cputopology.rst` and
/// `bitmap_parselist(9)` (without its strides).
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuSet {
    /// Bit `n % 64` of word `n / 64`; the last word is not zero.
    words: Vec<u64>,
}

/// A set that is not written as the kernel writes one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuSetError {
    #[error("{text} is no list of ids such as 0-3,8")]
    List { text: String },
    #[error("{text} is no mask of hexadecimal words such as 00000000,0000ffff")]
    Mask { text: String },
    #[error("the id {id} is beyond the last that is read, {}", CpuSet::LIMIT - 1)]
    Beyond { id: u32 },
}

impl CpuSet {
    /// Ids are below this: the most CPUs that a Linux kernel is built for (`MAXSMP`).
    pub const LIMIT: u32 = 8192;

    pub fn new() -> CpuSet {
        CpuSet::default()
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn contains(&self, id: u32) -> bool {
        self.words.get((id / 64) as usize).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// # Errors
    /// An id that is not below [`CpuSet::LIMIT`].
    pub fn insert(&mut self, id: u32) -> Result<(), CpuSetError> {
        if id >= CpuSet::LIMIT {
            return Err(CpuSetError::Beyond { id });
        }
        let word = (id / 64) as usize;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (id % 64);
        Ok(())
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).step_by(64).zip(&self.words).flat_map(|(base, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| base + bit)
        })
    }

    /// Bit `n % 64` of word `n / 64`, without words of zeros at the end.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// As `words` gives them; ids beyond the limit are left out.
    pub fn from_words(words: &[u64]) -> CpuSet {
        CpuSet::of(words.iter().copied().take(CpuSet::LIMIT as usize / 64).collect())
    }

    pub fn intersection(&self, other: &CpuSet) -> CpuSet {
        CpuSet::of(self.words.iter().zip(&other.words).map(|(a, b)| a & b).collect())
    }

    pub fn union(&self, other: &CpuSet) -> CpuSet {
        let (long, short) = if self.words.len() < other.words.len() { (other, self) } else { (self, other) };
        let mut words = long.words.clone();
        words.iter_mut().zip(&short.words).for_each(|(a, b)| *a |= b);
        CpuSet::of(words)
    }

    /// Whether all of this set is in `other`.
    pub fn is_subset(&self, other: &CpuSet) -> bool {
        self.intersection(other) == *self
    }

    fn of(mut words: Vec<u64>) -> CpuSet {
        while words.last() == Some(&0) {
            words.pop();
        }
        CpuSet { words }
    }

    /// Reads a mask: words of up to eight hexadecimal digits, the highest first, each with or without `0x`
    /// (sysfs and NCCL write `00000000,0000ffff`, hwloc `0x00000003,,0x1`, where an empty word is zero). The
    /// endless `0xf...f` of hwloc is none: it says nothing about a machine.
    ///
    /// # Errors
    /// Anything else, and ids beyond the limit.
    pub fn from_mask(text: &str) -> Result<CpuSet, CpuSetError> {
        let wrong = || CpuSetError::Mask { text: shown(text) };
        let text = text.trim();
        if text.is_empty() || text.len() > 16 * CpuSet::LIMIT as usize / 32 {
            return Err(wrong());
        }
        let mut set = CpuSet::new();
        for (place, word) in (0u32..).zip(text.rsplit(',')) {
            let digits = word.strip_prefix("0x").unwrap_or(word);
            if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            let mut bits = u32::from_str_radix(digits, 16).unwrap_or(0);
            while bits != 0 {
                set.insert(place * 32 + bits.trailing_zeros())?;
                bits &= bits - 1;
            }
        }
        Ok(set)
    }

    /// As `from_mask` reads it, in words of eight digits without `0x`, at least one.
    pub fn to_mask(&self) -> String {
        let halves = self.words.iter().flat_map(|word| [*word as u32, (word >> 32) as u32]);
        let mut halves: Vec<u32> = halves.collect();
        while halves.len() > 1 && halves.last() == Some(&0) {
            halves.pop();
        }
        if halves.is_empty() {
            halves.push(0);
        }
        let words: Vec<String> = halves.iter().rev().map(|half| format!("{half:08x}")).collect();
        words.join(",")
    }
}

impl FromStr for CpuSet {
    type Err = CpuSetError;

    /// Takes white space around the list, as files end with a line break; nothing at all is the empty set.
    fn from_str(text: &str) -> Result<CpuSet, CpuSetError> {
        let wrong = || CpuSetError::List { text: shown(text) };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u32>().ok()).flatten().ok_or_else(wrong)
        };
        let mut set = CpuSet::new();
        let text = text.trim();
        // The longest list that is within the limit: every second id, four digits and a comma each.
        if text.len() > 5 * CpuSet::LIMIT as usize {
            return Err(wrong());
        }
        if text.is_empty() {
            return Ok(set);
        }
        // No list of the kernel's names an id twice, and one that does could name all of them again and again.
        let mut named = 0;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return Err(wrong());
            }
            if last >= CpuSet::LIMIT {
                return Err(CpuSetError::Beyond { id: last });
            }
            named += last - first + 1;
            if named > CpuSet::LIMIT {
                return Err(wrong());
            }
            for id in first..=last {
                set.insert(id)?;
            }
        }
        Ok(set)
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ids = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = ids.next() {
            let mut last = first;
            while ids.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            match last == first {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

impl TryFrom<String> for CpuSet {
    type Error = CpuSetError;

    fn try_from(text: String) -> Result<CpuSet, CpuSetError> {
        text.parse()
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> String {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_written_as_the_kernel_does() {
        for (written, one_way, count) in [
            ("0-3,8\n", "0-3,8", 5),
            ("", "", 0),
            ("8191", "8191", 1),
            ("0,1,2,64,63", "0-2,63-64", 5),
            ("0-47,96-143", "0-47,96-143", 96),
        ] {
            let set: CpuSet = written.parse().unwrap();
            assert_eq!((set.to_string().as_str(), set.len()), (one_way, count));
        }
        for wrong in ["0-", "-1", "3-1", "a", "1,,2", "0-3:1/2", "+1"] {
            assert!(matches!(wrong.parse::<CpuSet>(), Err(CpuSetError::List { .. })), "{wrong}");
        }
        assert_eq!("0-8191".parse::<CpuSet>().unwrap().len(), 8192);
        assert!(matches!("0-8191,0".parse::<CpuSet>(), Err(CpuSetError::List { .. })));
        assert_eq!("8192".parse::<CpuSet>(), Err(CpuSetError::Beyond { id: 8192 }));
        assert_eq!("0-4294967295".parse::<CpuSet>(), Err(CpuSetError::Beyond { id: u32::MAX }));
    }

    #[test]
    fn a_mask_is_read_from_sysfs_and_from_hwloc_and_comes_back() {
        let mask = |text: &str| CpuSet::from_mask(text).map(|set| set.to_string());
        assert_eq!(mask("00000000,0000ffff,ff000000").unwrap(), "24-47");
        assert_eq!(mask("0x0000ffff,0xff000000").unwrap(), "24-47");
        assert_eq!(mask("0x1,,0x1").unwrap(), "0,64");
        assert_eq!(mask("0003ff,f0003fff").unwrap(), "0-13,28-41");
        assert_eq!(mask("0x0").unwrap(), "");
        for wrong in ["", "xyz", "0xf...f", "123456789"] {
            assert!(CpuSet::from_mask(wrong).is_err(), "{wrong}");
        }
        for list in ["", "0", "31-32", "24-47,8191"] {
            let set: CpuSet = list.parse().unwrap();
            assert_eq!(CpuSet::from_mask(&set.to_mask()), Ok(set));
        }
        let beyond = format!("1{}", ",0".repeat(256));
        assert_eq!(CpuSet::from_mask(&beyond), Err(CpuSetError::Beyond { id: 8192 }));
    }

    #[test]
    fn words_come_back_and_what_is_beyond_the_limit_is_left_out() {
        let set: CpuSet = "0,65,8191".parse().unwrap();
        assert_eq!((set.words().len(), set.words()[1]), (128, 2));
        assert_eq!(CpuSet::from_words(set.words()), set);
        assert_eq!(CpuSet::from_words(&[1, 0, 0]).words(), [1]);
        assert_eq!(CpuSet::from_words(&[u64::MAX; 200]).len(), 8192);
    }

    #[test]
    fn sets_are_compared_by_what_is_in_them() {
        let set = |text: &str| text.parse::<CpuSet>().unwrap();
        assert_eq!(set("0-3,200").intersection(&set("2-9")), set("2-3"));
        assert_eq!(set("0-3,200").intersection(&set("4")), CpuSet::new());
        assert_eq!(set("1").union(&set("200")), set("1,200"));
        assert!(set("2").is_subset(&set("0-3")) && !set("0-3").is_subset(&set("2")));
        assert!(set("200").contains(200) && !set("200").contains(199) && !set("200").contains(9000));
    }
}
