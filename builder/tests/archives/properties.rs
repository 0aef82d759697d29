//! What holds for every archive, however it was spoiled.

use flexnode_build::artifact::Kind;
use flexnode_build::digest::Digest;
use flexnode_build::failure::{Class, Failure};
use flexnode_build::stage::archive::Limits;
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};

use super::forge::{Tar, deb, gz, xz, zst};
use super::{TOOL, content, take};

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// No bytes make the reader panic or write anything; what it returns is what it reports, and what tar(5) says.
    #[test]
    fn mutated_archives_give_true_digests_or_a_refusal(
        kind in prop::sample::select(vec![0usize, 1, 2, 3, 4]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let tar = Tar::with_tool().link(b'2', "l", "bin/tool").file("etc/x", &[7; 700]).end();
        let (kind, mut bytes) = match kind {
            0 => (Kind::Tar, tar),
            1 => (Kind::TarGz, gz(&tar)),
            2 => (Kind::Deb, deb("data.tar.gz", &gz(&tar))),
            3 => (Kind::Deb, deb("data.tar.xz", &xz(&tar))),
            _ => (Kind::Deb, deb("data.tar.zst", &zst(&tar))),
        };
        for (at, byte) in &edits {
            *at.get_mut(&mut bytes) = *byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        match take(kind, &bytes, &Limits::default()) {
            Ok(file) => {
                let content = content(&file);
                prop_assert_eq!(Digest::of(&content), file.sha256);
                prop_assert_eq!(content.len() as u64, file.size);
                // Compressed bytes carry checksums; in a plain archive the content itself may have been edited.
                prop_assert!(kind == Kind::Tar || content == TOOL);
            }
            Err(error) => {
                prop_assert_eq!(Failure::describe(&error).0, Class::Verification);
            }
        }
    }

    /// An archive without its last bytes is never taken for a whole one.
    #[test]
    fn truncated_archives_are_refused(kind in 0usize..4, cut in any::<prop::sample::Index>()) {
        let tar = Tar::with_tool().end();
        let (kind, bytes) = match kind {
            0 => (Kind::Tar, tar),
            1 => (Kind::TarGz, gz(&tar)),
            2 => (Kind::Deb, deb("data.tar.xz", &xz(&tar))),
            _ => (Kind::Deb, deb("data.tar.zst", &zst(&tar))),
        };
        prop_assert!(take(kind, &bytes[..cut.index(bytes.len())], &Limits::default()).is_err());
    }
}
