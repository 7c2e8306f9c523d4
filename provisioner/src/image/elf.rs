//! Is this file a program that runs alone on Linux, on the wanted processor?
//!
//! Reads the headers only (*System V ABI*, chapters 4 and 5); must not panic on any bytes.

use object::elf::{
    EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PT_INTERP, PT_LOAD, ProgramHeader64,
};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{Endianness, ReadRef as _};

use super::{Architecture, ImageError};

/// The first bytes of a 64-bit ELF file.
const MAGIC: [u8; 5] = *b"\x7fELF\x02";

const CUT_OFF: ImageError = ImageError::Damaged { what: "it ends before its headers say so" };

/// Says whether an image of this binary could start.
pub(super) fn check(binary: &[u8], wanted: Architecture) -> Result<(), ImageError> {
    if !binary.starts_with(&MAGIC) {
        return Err(ImageError::NotElf);
    }
    let header = FileHeader64::<Endianness>::parse(binary).map_err(|_| CUT_OFF)?;
    let endian = header.endian().map_err(|_| ImageError::Damaged { what: "no byte order" })?;
    let machine = header.e_machine(endian);
    let expected = match wanted {
        Architecture::Arm64 => EM_AARCH64,
        Architecture::X86_64 => EM_X86_64,
    };
    if machine != expected || !header.is_little_endian() {
        return Err(ImageError::WrongArchitecture { wanted, found: name(machine.0) });
    }
    let program = matches!(header.e_type(endian), ET_EXEC | ET_DYN);
    let segments = header.program_headers(endian, binary).map_err(|_| CUT_OFF)?;
    for segment in segments {
        check_segment(segment, endian, binary)?;
    }
    let loaded = segments.iter().any(|segment| segment.p_type(endian) == PT_LOAD);
    if program && loaded && header.e_entry(endian) != 0 {
        Ok(())
    } else {
        Err(ImageError::NotAProgram)
    }
}

fn check_segment(
    segment: &ProgramHeader64<Endianness>,
    endian: Endianness,
    binary: &[u8],
) -> Result<(), ImageError> {
    let (start, length) = (segment.p_offset(endian), segment.p_filesz(endian));
    let content = binary.read_bytes_at(start, length).map_err(|()| CUT_OFF)?;
    if segment.p_type(endian) == PT_INTERP {
        let name = content.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = name.get(..name.len().min(100)).unwrap_or_default();
        return Err(ImageError::Dynamic { loader: name.escape_ascii().to_string() });
    }
    Ok(())
}

/// Names a processor as the file's header gives it.
fn name(machine: u16) -> String {
    if machine == EM_AARCH64.0 {
        Architecture::Arm64.to_string()
    } else if machine == EM_X86_64.0 {
        Architecture::X86_64.to_string()
    } else {
        format!("another processor (ELF machine {machine})")
    }
}
