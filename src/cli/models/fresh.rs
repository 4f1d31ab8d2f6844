//! A new folder for a package: written beside, proved there by loading it as a server would, and only then put in place.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use crate::model::encoder::candle::Device;
use crate::model::load::{self, PackageFiles, TRUNK_FILE};
use crate::model::scorer::Scorer;
use crate::model::{config, head, parity, tokenizer};

/// Refuses a folder that is there: asked before work that takes minutes.
pub(super) fn check_new(out: &Path) -> Result<()> {
    // A link that leads nowhere is there as well.
    if fs::symlink_metadata(out).is_ok() {
        bail!("output folder {}: exists; name a new one", out.display());
    }
    Ok(())
}

/// Writes the package; `what` names it where it does not serve. Whatever fails, nothing of it is left.
pub(super) fn write(files: &PackageFiles, out: &Path, what: &'static str) -> Result<Scorer> {
    check_new(out)?;
    let name = out.file_name().ok_or_else(|| anyhow!("output folder {}: has no name", out.display()))?;
    let beside = out.with_file_name(format!("{}.new", name.to_string_lossy()));
    fs::create_dir(&beside).with_context(|| format!("folder {}, where the package is proved", beside.display()))?;
    let proved = write_and_prove(files, &beside, what).and_then(|scorer| {
        fs::rename(&beside, out).with_context(|| format!("output folder {}", out.display()))?;
        Ok(scorer)
    });
    if beside.exists() {
        // What is left of it is of no use to anybody; if it cannot be removed, the next run says so.
        drop(fs::remove_dir_all(&beside));
    }
    proved
}

fn write_and_prove(files: &PackageFiles, folder: &Path, what: &'static str) -> Result<Scorer> {
    let contents = [
        (config::FILE, &files.config),
        (tokenizer::FILE, &files.tokenizer),
        (TRUNK_FILE, &files.trunk),
        (head::FILE, &files.heads),
        (head::WEIGHTS_FILE, &files.head_weights),
        (parity::FILE, &files.parity),
    ];
    for (name, bytes) in contents {
        fs::write(folder.join(name), bytes).with_context(|| format!("file {}", folder.join(name).display()))?;
    }
    load::load(folder, &Device::Cpu).with_context(|| format!("{what} does not serve"))
}
