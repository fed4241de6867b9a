//! Protocol Buffers, with a schema from the text of a `.proto` file or from a compiled set of
//! descriptors. Fields keep their names as written. A field that has no presence of its own and is
//! not in the message holds its default, as the language guide says.

mod read;

use super::{
    Fault,
    document::Document,
    excerpt,
    schema_files::{FileError, SchemaFiles},
};
use oribi_model::RejectReason;
use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use std::{
    cell::Cell,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// Longest text of a schema with all that it imports, bytes.
pub const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// The name that a schema's own file has among those it imports.
const OWN_FILE: &str = "<schema>";

/// A file of messages and the one that is read.
#[derive(Debug, Clone)]
pub struct ProtobufSchema {
    file: FileDescriptor,
    message: MessageDescriptor,
}

/// A file that a schema imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The name by which it is imported.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Where the files that a schema imports are found.
#[derive(Clone, Copy)]
pub enum Imports<'a> {
    /// Among these.
    AtHand(&'a [Import]),
    /// In this folder and below it.
    Below {
        /// The folder.
        folder: &'a Path,
        /// Who reads its files.
        files: &'a Arc<dyn SchemaFiles>,
    },
}

impl ProtobufSchema {
    /// Compiles the text of a `.proto` file; Google's well-known files need not be among the
    /// imports. Without a name, the first message of the file is read.
    ///
    /// # Errors
    /// Says what in it is wrong.
    pub fn parse(
        text: &str,
        imports: Imports<'_>,
        message: Option<&str>,
    ) -> Result<ProtobufSchema, Fault> {
        let mut files = vec![Import { name: OWN_FILE.into(), text: text.to_owned() }];
        let mut resolver = ChainFileResolver::new();
        match imports {
            Imports::AtHand(imports) => files.extend_from_slice(imports),
            Imports::Below { folder, files } => {
                let room = Cell::new(SCHEMA_BYTES_MAX.saturating_sub(text.len()));
                resolver.add(Folder { path: folder.to_owned(), files: files.clone(), room });
            }
        }
        check_length(files.iter().map(|file| file.text.len()).sum())?;
        resolver.add(Texts(files));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = protox::Compiler::with_file_resolver(resolver);
        compiler.include_imports(true);
        // Only the form for debugging tells line and column.
        let located = |error: protox::Error| wrong(format_args!("{error:?}"));
        compiler.open_file(OWN_FILE).map_err(located)?;
        let pool = compiler.descriptor_pool();
        let file = pool.get_file_by_name(OWN_FILE);
        let file = file.ok_or_else(|| wrong("the compiled file is missing"))?;
        ProtobufSchema::of_file(file, message)
    }

    /// Takes a set of descriptors as `protoc --include_imports --descriptor_set_out` writes it;
    /// without a name, the first message of its last file is read.
    ///
    /// # Errors
    /// Bytes that are no such set, and a message that is not in it.
    pub fn from_descriptor_set(
        bytes: &[u8],
        message: Option<&str>,
    ) -> Result<ProtobufSchema, Fault> {
        check_length(bytes.len())?;
        let pool = DescriptorPool::decode(bytes).map_err(wrong)?;
        let file = pool.files().last().ok_or_else(|| wrong("it holds no file"))?;
        ProtobufSchema::of_file(file, message)
    }

    fn of_file(file: FileDescriptor, name: Option<&str>) -> Result<ProtobufSchema, Fault> {
        let message = match name {
            Some(name) => {
                let found = file.parent_pool().get_message_by_name(name);
                found.ok_or_else(|| {
                    wrong(format_args!("there is no message {:?}", excerpt(name, 64)))
                })?
            }
            None => file.messages().next().ok_or_else(|| wrong("it has no message"))?,
        };
        Ok(ProtobufSchema { file, message })
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Bytes that are no such message, and values that cannot be kept.
    pub fn decode(&self, bytes: &[u8]) -> Result<Document, Fault> {
        read::message(&self.message, bytes)
    }

    /// Reads the message whose place in the file these numbers give, outermost first, as a schema
    /// registry counts them.
    ///
    /// # Errors
    /// As [`ProtobufSchema::decode`]; a place where there is none.
    pub fn decode_at(&self, indexes: &[u32], bytes: &[u8]) -> Result<Document, Fault> {
        read::message(&self.at(indexes)?, bytes)
    }

    fn at(&self, indexes: &[u32]) -> Result<MessageDescriptor, Fault> {
        let none = || Fault::syntax(format!("the schema has no message at {indexes:?}"));
        let (first, inner) = indexes.split_first().ok_or_else(none)?;
        let mut message = self.file.messages().nth(*first as usize).ok_or_else(none)?;
        for index in inner {
            // Entries of maps are messages to the compiler only.
            let mut written = message.child_messages().filter(|child| !child.is_map_entry());
            let child = written.nth(*index as usize).ok_or_else(none)?;
            drop(written);
            message = child;
        }
        Ok(message)
    }
}

fn wrong(what: impl std::fmt::Display) -> Fault {
    Fault::syntax(format!("the Protobuf schema is wrong: {}", excerpt(&what.to_string(), 512)))
}

fn check_length(length: usize) -> Result<(), Fault> {
    if length > SCHEMA_BYTES_MAX {
        let detail = format!("a Protobuf schema of {length} bytes; at most {SCHEMA_BYTES_MAX} fit");
        return Err(Fault::new(RejectReason::Limit, detail));
    }
    Ok(())
}

/// Files that are at hand as texts.
struct Texts(Vec<Import>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.iter().find(|file| file.name == name) {
            Some(file) => File::from_source(name, &file.text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// Files in a folder and below it.
struct Folder {
    path: PathBuf,
    files: Arc<dyn SchemaFiles>,
    /// Bytes that may still be read.
    room: Cell<usize>,
}

impl FileResolver for Folder {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let below = Path::new(name);
        let stays = below.components().all(|part| matches!(part, Component::Normal(_)));
        if !stays || below.extension().is_none_or(|end| end != "proto") {
            return Err(protox::Error::file_not_found(name));
        }
        let path = self.path.join(below);
        let room = self.room.get();
        let unreadable =
            |cause: String| protox::Error::new(format!("cannot read {}: {cause}", path.display()));
        let bytes = self.files.read(&path, room as u64).map_err(|error| match error {
            FileError::Missing(_) => protox::Error::file_not_found(name),
            FileError::TooLong(_) => {
                let detail = format!("with {name} it takes more than {SCHEMA_BYTES_MAX} bytes");
                protox::Error::new(detail)
            }
            FileError::Unreadable(cause) => unreadable(cause),
        })?;
        self.room.set(room.saturating_sub(bytes.len()));
        let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".into()))?;
        File::from_source(name, &text)
    }
}

#[cfg(test)]
mod tests;
