//! Which files does the image hold?
//!
//! The binary and the five that a program expects of any Linux. Fixed order, times and owners, so
//! that the bytes depend on the binary alone. Must do no I/O.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

/// Where the binary is, and what the image starts.
pub(super) const ENTRY_POINT: &str = "/bootstrap";

/// Names for the user that the program runs as: a container's is nobody, Lambda has its own.
const PASSWD: &str =
    "root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnobody:x:65534:\n";

/// Files before the network: without this, `localhost` is a question for a name server.
const NSSWITCH: &str = "hosts: files dns\n";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";

/// Packs the files into a tar archive, uncompressed.
pub(super) fn pack(binary: &[u8]) -> Vec<u8> {
    let files: [(&str, u32, &[u8]); 7] = [
        ("bootstrap", 0o755, binary),
        ("etc/", 0o755, &[]),
        ("etc/group", 0o644, GROUP.as_bytes()),
        ("etc/hosts", 0o644, HOSTS.as_bytes()),
        ("etc/nsswitch.conf", 0o644, NSSWITCH.as_bytes()),
        ("etc/passwd", 0o644, PASSWD.as_bytes()),
        ("tmp/", 0o1777, &[]),
    ];
    let mut archive = Builder::new(Vec::with_capacity(binary.len() + 16 * 1024));
    for (path, mode, content) in files {
        let mut header = Header::new_ustar();
        let directory = path.ends_with('/');
        header.set_entry_type(if directory { EntryType::Directory } else { EntryType::Regular });
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, path, content).expect("a vector takes all bytes");
    }
    archive.into_inner().expect("a vector takes all bytes")
}

/// Compresses an archive, without a time or a system in gzip's header. Lambda takes gzip, and
/// neither plain tar nor zstd.
pub(super) fn compress(archive: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(archive).expect("a vector takes all bytes");
    encoder.finish().expect("a vector takes all bytes")
}
