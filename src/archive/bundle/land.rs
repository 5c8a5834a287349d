//! One bundle into an archive: its objects, a commit for each volume, and at last, in one
//! commit, what the registry said. [R 16.10]

use super::BundleError;
use super::apply::{ApplyOptions, ApplyReport};
use super::given::Bundle;
use super::lineage::{Here, Standing};
use super::marks::Marks;
use super::take_in::{Counts, Intake};
use super::volume::{Frame, Volume};
use crate::archive::purge::{PurgeOptions, Target};
use crate::archive::{Archive, CommitInfo, DEFAULT_LEVEL, Writer};
use crate::ids::Digest;
use std::collections::BTreeSet;

impl Bundle {
    pub(super) fn take_in(
        &self,
        writer: &Writer,
        options: &ApplyOptions<'_>,
        report: &mut ApplyReport,
    ) -> Result<(), BundleError> {
        let header = self.header();
        let folder = writer.medium().describe();
        let here = writer.with_archive(Here::of)?;
        let standing = self.standing(&here)?;
        let tail = writer.with_archive(|archive| self.tail(Some(archive), standing))?;
        let told = match (&tail, standing) {
            (Some(tail), Standing::Before(after)) => self.told(&tail.manifest, after, &here)?,
            _ => None,
        };
        let no_marks = Marks::default();
        let marks = tail.as_ref().map_or(&no_marks, |tail| &tail.marks);
        let mut intake = Intake::new(writer, &marks.welcome, options.threads);
        for volume in self.volumes.values() {
            if let Some(tail) = &tail {
                let own = &tail.digests[header.objects_of(volume.header.volume)];
                if writer.with_archive(|archive| marks.is_in(archive, own))? {
                    intake.counts.held += own.len() as u64;
                    (options.progress)(volume.bytes);
                    continue;
                }
            }
            let read = self.read_volume(volume, &mut intake, options);
            add(report, &mut intake.counts);
            // What came before the trouble is good, and stays.
            let is_last = volume.header.volume == header.volumes();
            if read.is_err() || !is_last {
                let info = CommitInfo {
                    source: "apply".into(),
                    ..CommitInfo::default()
                };
                let committed = writer.commit(&info).map_err(BundleError::applying(&folder));
                read?;
                committed?;
            }
        }
        add(report, &mut intake.counts);
        if tail.is_none() {
            report.waiting = self.waiting();
            return Ok(());
        }
        let is_behind = here.generation < header.generation && here.root() == header.root();
        report.transactions += told.as_ref().map_or(0, |told| told.transactions.len() as u64);
        let purge = PurgeOptions {
            reason: "told by a bundle",
            level: DEFAULT_LEVEL,
            progress: &|_| {},
        };
        let targets = |digests: &BTreeSet<Digest>| digests.iter().copied().map(Target::Digest).collect::<Vec<_>>();
        if told.is_some() && !marks.purged.is_empty() {
            for digest in &marks.purged {
                report.erased_objects += u64::from(writer.find(digest)?.is_some());
            }
            writer
                .let_go_as_told(&targets(&marks.purged), &purge)
                .map_err(BundleError::applying(&folder))?;
        }
        if told.is_some() || is_behind || writer.has_news() {
            writer
                .commit_told(told, header.generation)
                .map_err(BundleError::applying(&folder))?;
        }
        if !marks.purged.is_empty() {
            // Of what a run that was stopped here has left, too; but not what has become
            // welcome again since.
            let purged = writer.with_archive(Archive::purged_digests)?;
            let still = marks
                .purged
                .iter()
                .filter(|digest| purged.contains_key(digest))
                .copied();
            writer
                .purge(&targets(&still.collect()), &purge)
                .map_err(BundleError::applying(&folder))?;
        }
        Ok(())
    }

    fn read_volume(
        &self,
        volume: &Volume,
        intake: &mut Intake<'_>,
        options: &ApplyOptions<'_>,
    ) -> Result<(), BundleError> {
        let mut done = 0;
        let result = volume.read(&mut |frame| {
            if (options.stop)() {
                return Err(BundleError::Stopped);
            }
            match frame {
                Frame::Base(note) => intake.note(note),
                Frame::Record { meta, frame, offset } => {
                    let bytes = frame.len() as u64;
                    intake.record(volume, *meta, frame, offset)?;
                    done += bytes;
                    (options.progress)(bytes);
                }
            }
            Ok(())
        });
        let flushed = intake.flush(volume);
        (options.progress)(volume.bytes.saturating_sub(done));
        result.and(flushed)
    }
}

fn add(report: &mut ApplyReport, counts: &mut Counts) {
    report.new_objects += counts.new;
    report.new_bytes += counts.new_bytes;
    report.held_objects += counts.held;
    report.purged_objects += counts.purged;
    *counts = Counts::default();
}
