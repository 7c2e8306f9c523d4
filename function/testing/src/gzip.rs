//! How does an upstream compress its answer? As gzip in stored blocks (RFC 1952, RFC 1951 3.2.4):
//! valid, and plainly different from the bytes inside. It saves nothing.

const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Compresses a body that arrives in pieces; every piece can be read as soon as it is there.
#[derive(Debug)]
pub struct Gzip {
    crc: u32,
    size: u32,
    begun: bool,
}

impl Default for Gzip {
    fn default() -> Self {
        Self::new()
    }
}

impl Gzip {
    pub fn new() -> Self {
        Self { crc: u32::MAX, size: 0, begun: false }
    }

    pub fn piece(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 32);
        if !self.begun {
            self.begun = true;
            out.extend(HEAD);
        }
        for block in bytes.chunks(usize::from(u16::MAX)) {
            stored(&mut out, block, false);
        }
        self.crc = bytes.iter().fold(self.crc, |crc, byte| crc_of(crc, *byte));
        self.size = self.size.wrapping_add(u32::try_from(bytes.len()).expect("answers are small"));
        out
    }

    pub fn end(&self) -> Vec<u8> {
        let mut out = Vec::new();
        stored(&mut out, &[], true);
        out.extend((!self.crc).to_le_bytes());
        out.extend(self.size.to_le_bytes());
        out
    }
}

/// Reads what [`Gzip`] wrote; anything else is no such body.
pub fn unzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut rest = bytes.strip_prefix(&HEAD)?;
    let mut out = Vec::new();
    loop {
        let (last, after) = rest.split_first()?;
        let length = usize::from(u16::from_le_bytes([*after.first()?, *after.get(1)?]));
        out.extend(after.get(4..4 + length)?);
        rest = after.get(4 + length..)?;
        if *last == 1 {
            return (rest.len() == 8).then_some(out);
        }
    }
}

fn stored(out: &mut Vec<u8>, block: &[u8], last: bool) {
    let length = u16::try_from(block.len()).expect("a block was cut to this size");
    out.push(u8::from(last));
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(block);
}

fn crc_of(crc: u32, byte: u8) -> u32 {
    (0..8)
        .fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
}
