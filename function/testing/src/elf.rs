//! What may somebody hand in as the function's binary? ELF files of a few hundred bytes, as the
//! *System V ABI* (chapters 4 and 5) lays them out.

/// The processors' numbers in an ELF header.
pub const AARCH64: u16 = 183;
pub const X86_64: u16 = 62;
pub const RISCV: u16 = 243;

const HEADER: usize = 64;
const SEGMENT: usize = 56;

/// The parts of a program that decide whether it is taken.
#[derive(Debug, Clone)]
pub struct Program {
    pub machine: u16,
    /// 1 for an object file, 2 for a program, 3 for one that may lie anywhere.
    pub kind: u16,
    pub entry: u64,
    pub loader: Option<&'static str>,
    pub code: Vec<u8>,
}

/// A static program for `machine`.
pub fn program(machine: u16, code: &[u8]) -> Program {
    Program { machine, kind: 2, entry: 0x40_0000, loader: None, code: code.to_vec() }
}

impl Program {
    pub fn bytes(&self) -> Vec<u8> {
        let loader = self.loader.map(|name| [name.as_bytes(), b"\0"].concat()).unwrap_or_default();
        let segments = 1 + u16::from(self.loader.is_some());
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend(self.kind.to_le_bytes());
        file.extend(self.machine.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        file.extend(self.entry.to_le_bytes());
        file.extend((HEADER as u64).to_le_bytes());
        file.extend([0; 12]);
        for half in [HEADER as u16, SEGMENT as u16, segments, 64, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        let start = HEADER + SEGMENT * usize::from(segments);
        if self.loader.is_some() {
            file.extend(segment(3, start, loader.len()));
        }
        file.extend(segment(1, start + loader.len(), self.code.len()));
        file.extend(loader);
        file.extend(&self.code);
        file
    }
}

fn segment(kind: u32, start: usize, length: usize) -> Vec<u8> {
    let mut header = kind.to_le_bytes().to_vec();
    header.extend(5_u32.to_le_bytes());
    for word in [start, 0x40_0000, 0x40_0000, length, length, 8] {
        header.extend((word as u64).to_le_bytes());
    }
    header
}
