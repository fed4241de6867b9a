//! Saves how far a connector has got, over and over, and ends as a killed process does: what `oribi serve`
//! finds at its next start in the directory that the first argument names. The second one says how often.

use futures::{StreamExt, TryStreamExt};
use oribi_cluster::{Change, Node, NodeOptions};
use oribi_model::{Name, SystemClock};
use oribi_store::disk::RealDisk;
use std::{collections::BTreeMap, error::Error, path::PathBuf, sync::Arc};

/// Commands under way together: one sync takes them all.
const AT_ONCE: usize = 256;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let data_dir = PathBuf::from(arguments.next().ok_or("no directory is given")?);
    let times: u64 = arguments.next().ok_or("no count is given")?.parse()?;
    let disk = Arc::new(RealDisk);
    let node = Node::open(data_dir, NodeOptions::default(), disk, Arc::new(SystemClock)).await?;
    let connector = Name::new("quiet")?;
    let save = |next| {
        let cursors = BTreeMap::from([(format!("readings/{}", next % 12), next)]);
        node.change(Change::SaveCursors { connector: connector.clone(), cursors, epoch: None })
    };
    let saved = futures::stream::iter(0..times).map(save).buffer_unordered(AT_ONCE);
    saved.try_for_each(|_| async { Ok(()) }).await?;
    println!("saved {times} places");
    std::process::abort()
}
