//! The catalog's file, as another replica takes it over, and as this one takes over another's.

use super::CatalogMachine;
use crate::{
    Error, Result,
    machine::{Pinned, Staged},
};
use oribi_store::{FileSum, Flushed, Gap};
use std::{ops::Range, sync::Arc};

/// Bytes of a catalog, at most; it is held in memory anyway.
const BYTES_MAX: u64 = 256 << 20;

/// What a file of the catalog says.
pub(super) struct CatalogPin {
    pub(super) flushed: Flushed,
    pub(super) body: Vec<u8>,
}

/// What is copied for the catalog.
pub(super) struct CatalogCopy {
    machine: Arc<CatalogMachine>,
    sum: FileSum,
    body: Vec<u8>,
}

impl Pinned for CatalogPin {
    fn flushed(&self) -> &Flushed {
        &self.flushed
    }

    fn sums(&self) -> Result<Vec<FileSum>> {
        Ok(vec![FileSum { bytes: self.body.len() as u64, crc: crc32c::crc32c(&self.body) }])
    }

    fn read(&self, file: usize, piece: Range<u64>) -> Result<Vec<u8>> {
        let found = self.body.get(piece.start as usize..piece.end as usize);
        let found = found.filter(|_| file == 0);
        found.map(<[u8]>::to_vec).ok_or_else(|| refused("the catalog has no such piece"))
    }
}

impl CatalogCopy {
    pub(super) fn begin(machine: Arc<CatalogMachine>, sums: &[FileSum]) -> Result<CatalogCopy> {
        match sums {
            [sum] if sum.bytes <= BYTES_MAX => {
                Ok(CatalogCopy { machine, sum: *sum, body: Vec::new() })
            }
            _ => Err(refused("this is no catalog, or too much of one")),
        }
    }
}

impl Staged for CatalogCopy {
    fn gap(&self) -> Option<Gap> {
        let bytes = self.body.len() as u64..self.sum.bytes;
        (!bytes.is_empty()).then_some(Gap { file: 0, bytes })
    }

    fn write(&mut self, file: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        let have = self.body.len() as u64;
        if file != 0 || offset != have || have + bytes.len() as u64 > self.sum.bytes {
            return Err(refused("this is not the next piece of the catalog"));
        }
        self.body.extend_from_slice(bytes);
        if self.body.len() as u64 == self.sum.bytes && crc32c::crc32c(&self.body) != self.sum.crc {
            self.body.clear();
            let (path, reason) = (self.machine.dir().into(), "its checksum differs".to_owned());
            return Err(oribi_store::Error::Corrupt { path, offset: 0, reason }.into());
        }
        Ok(())
    }

    fn go_over(self: Box<Self>, sums: &[FileSum]) -> Result<Box<dyn Staged>> {
        if *sums == [self.sum] {
            return Ok(self);
        }
        Ok(Box::new(CatalogCopy::begin(self.machine, sums)?))
    }

    fn install(self: Box<Self>) -> Result<Flushed> {
        if self.gap().is_some() {
            return Err(refused("not all of the catalog is there"));
        }
        self.machine.take_over(&self.body)
    }
}

fn refused(reason: &str) -> Error {
    Error::Refused(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, command::Command, machine::Machine};
    use oribi_model::{LogIndex, Name};
    use oribi_store::disk::{create_dir_durably, sim::SimDisk};
    use std::path::Path;

    fn open(disk: &SimDisk) -> Arc<CatalogMachine> {
        create_dir_durably(disk, Path::new("/data")).unwrap();
        let found = CatalogMachine::open(Arc::new(disk.clone()), "/data".into()).unwrap();
        assert_eq!(found.damaged, []);
        Arc::new(found.machine)
    }

    /// A catalog with as many databases, flushed.
    fn filled(disk: &SimDisk, databases: u64) -> Arc<CatalogMachine> {
        let machine = open(disk);
        for at in 1..=databases {
            let db = Name::new(&format!("db{at}")).unwrap();
            let command = Command::change(Change::CreateDatabase { db });
            machine.apply(LogIndex(at), &command).unwrap();
        }
        machine.flush(&machine.current(), LogIndex(databases), vec![7]).unwrap();
        machine
    }

    fn copy(from: &CatalogMachine, to: &Arc<CatalogMachine>) -> Result<Flushed> {
        let pin = from.pin()?.unwrap();
        let mut staged = to.clone().stage(&pin.sums()?)?;
        while let Some(Gap { file, bytes }) = staged.gap() {
            let piece = bytes.start..bytes.end.min(bytes.start + 50);
            staged.write(file, bytes.start, &pin.read(file, piece)?)?;
        }
        staged.install()
    }

    #[test]
    fn a_catalog_is_taken_over_whole_or_not_at_all() {
        let source = filled(&SimDisk::new(), 9);
        let calm = SimDisk::new();
        let target = filled(&calm, 3);
        let begun = calm.operations();
        let flushed = copy(&source, &target).unwrap();
        assert_eq!((flushed.index, target.purgeable()), (LogIndex(9), Some(flushed)));
        assert_eq!(*target.current(), *source.current());
        println!("a catalog's copy: the power went at {} operations", calm.operations() - begun);
        for at in begun + 1..=calm.operations() {
            let disk = SimDisk::new();
            let target = filled(&disk, 3);
            disk.crash_at(at);
            assert!(copy(&source, &target).is_err());
            let target = open(&disk.reboot(at));
            let index = target.flushed().unwrap().index;
            assert!([LogIndex(3), LogIndex(9)].contains(&index));
            copy(&source, &target).unwrap();
            assert_eq!(*target.current(), *source.current());
        }
    }

    #[test]
    fn what_is_no_catalog_changes_nothing() {
        let source = filled(&SimDisk::new(), 9);
        let (disk, pin) = (SimDisk::new(), source.pin().unwrap().unwrap());
        let target = filled(&disk, 3);
        let before = target.current();
        let sum = pin.sums().unwrap()[0];
        let mut bad = pin.read(0, 0..sum.bytes).unwrap();
        bad[20] ^= 1;
        let mut staged = target.clone().stage(&[sum]).unwrap();
        assert!(staged.write(0, 1, &bad).is_err() && staged.write(1, 0, &bad).is_err());
        assert!(staged.write(0, 0, &bad).is_err(), "its checksum differs");
        assert_eq!(staged.gap(), Some(Gap { file: 0, bytes: 0..sum.bytes }));
        assert!(staged.install().is_err());
        let text = b"no catalog";
        let sum = FileSum { bytes: 10, crc: crc32c::crc32c(text) };
        let mut staged = target.clone().stage(&[sum]).unwrap();
        staged.write(0, 0, text).unwrap();
        assert!(staged.install().is_err());
        for sums in [&[][..], &[sum, sum], &[FileSum { bytes: u64::MAX, crc: 0 }]] {
            assert!(target.clone().stage(sums).is_err());
        }
        assert_eq!(*target.current(), *before);
    }
}
