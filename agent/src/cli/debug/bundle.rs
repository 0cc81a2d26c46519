//! The directory that is recorded into, and the archive that it becomes. Nobody but the owner may read either.

use crate::cli::Failure;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A new directory, and what it shall become.
pub(super) struct Bundle {
    directory: PathBuf,
    /// The directory's own name, under which its files are in the archive.
    name: OsString,
    archive: Option<PathBuf>,
}

fn with_ending(name: &OsString, ending: &str) -> OsString {
    let mut name = name.clone();
    name.push(ending);
    name
}

impl Bundle {
    /// Creates the directory. What is there already is left alone.
    ///
    /// # Errors
    /// [`Failure::Refused`] with what is in the way.
    pub(super) fn create(output: &Path, archive: bool) -> Result<Self, Failure> {
        let refused = |problem: String| Failure::Refused(format!("Capture validation failed: {problem}"));
        let Some(given) = output.file_name() else {
            return Err(refused(format!("{} names no directory to be made", output.display())));
        };
        // People name the archive itself, too.
        let name = given.to_str().and_then(|name| name.strip_suffix(".tar.gz")).filter(|_| archive);
        let name = name.filter(|name| !name.is_empty()).map_or_else(|| given.to_owned(), OsString::from);
        let directory = output.with_file_name(&name);
        let archive = archive.then(|| output.with_file_name(with_ending(&name, ".tar.gz")));
        if let Some(archive) = archive.as_ref().filter(|archive| archive.exists()) {
            return Err(refused(format!("output archive already exists: {}", archive.display())));
        }
        let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
        let made = parent.map_or(Ok(()), fs::create_dir_all);
        match made.and_then(|()| DirBuilder::new().mode(0o700).create(&directory)) {
            Ok(()) => Ok(Self { directory, name, archive }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(refused(format!("output directory already exists: {}", directory.display())))
            }
            Err(error) => Err(refused(format!("could not create output directory {}: {error}", directory.display()))),
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the user will find in the end.
    pub(super) fn place(&self) -> &Path {
        self.archive.as_ref().unwrap_or(&self.directory)
    }

    /// A new file in the directory.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(super) fn file(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.directory.join(name))
    }

    /// Packs the directory, if it shall be an archive, and removes it once that is safely on the disk.
    ///
    /// # Errors
    /// Those of reading and writing. Then the directory stays, and no archive.
    pub(super) fn finish(&self) -> io::Result<()> {
        let Some(archive) = &self.archive else { return Ok(()) };
        let unfinished = archive.with_file_name(with_ending(&self.name, ".tar.gz.unfinished"));
        let packed = self.pack(&unfinished).and_then(|()| fs::rename(&unfinished, archive));
        if let Err(error) = packed {
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        let parent = archive.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
        fs::remove_dir_all(&self.directory)
    }

    fn pack(&self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        tar.append_dir_all(&self.name, &self.directory)?;
        tar.into_inner()?.finish()?.sync_all()
    }
}
