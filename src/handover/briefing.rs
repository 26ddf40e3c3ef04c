//! What a fork server starts with: the settings of its service in a sealed memory file, and descriptors that it inherits.

use std::borrow::Borrow;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use serde::{Deserialize, Serialize};

use crate::child::supplies::ChildSettings;
use crate::confine::Gap;
use crate::journal::{Destination, LineStyle};
use crate::service::Service;
use crate::sys;

/// What a fork server runs by. `S` is its service: borrowed by the supervisor, owned by the fork server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Briefing<S> {
    pub(crate) service: S,
    pub(crate) children: ChildSettings,
    /// Each child is forked by an intermediate: the model `double-fork`.
    pub(crate) forks_twice: bool,
    /// Children that wait for a connection.
    pub(crate) spares: usize,
    /// Where children write their entries.
    pub(crate) log: Destination,
    /// How lines on standard error look.
    pub(crate) style: LineStyle,
    /// The soft limit of descriptors of a child.
    pub(crate) open_files: u64,
    #[serde(with = "sys::by_number")]
    pub(crate) channel: OwnedFd,
    /// Where children send messages: see [`crate::uplink`].
    #[serde(with = "sys::option_by_number")]
    pub(crate) uplink: Option<OwnedFd>,
    #[serde(with = "sys::by_number")]
    pub(crate) scoreboard: OwnedFd,
    /// The text of this program in huge pages, where that is possible.
    #[serde(with = "sys::option_by_number")]
    pub(crate) text: Option<OwnedFd>,
    /// Standard error of programs that children become, and of an interpreter with applications.
    #[serde(with = "sys::by_number")]
    pub(crate) program_output: OwnedFd,
    /// The process is confined already: what the kernel cannot do.
    pub(crate) confined: Option<Vec<Gap>>,
}

impl<S: Borrow<Service> + Serialize> Briefing<S> {
    /// Writes the briefing to a memory file, and gives all descriptors that the new process must inherit.
    ///
    /// # Errors
    /// Those of memfd_create(2) and write(2).
    pub(crate) fn write(&self) -> io::Result<(OwnedFd, Vec<RawFd>)> {
        let bytes = postcard::to_allocvec(self).map_err(io::Error::other)?;
        let mut file = File::from(sys::create_memory_file(c"lsbaws-briefing")?);
        file.write_all(&bytes)?;
        sys::seal(file.as_fd())?;
        file.rewind()?;
        let own = [&self.channel, &self.scoreboard, &self.program_output].map(AsRawFd::as_raw_fd);
        let optional = [&self.uplink, &self.text].into_iter().flatten().map(AsRawFd::as_raw_fd);
        let mut inherited: Vec<_> =
            own.into_iter().chain(optional).chain(self.service.borrow().descriptors()).collect();
        inherited.push(file.as_raw_fd());
        Ok((file.into(), inherited))
    }
}

impl Briefing<Service> {
    /// Reads the briefing from the inherited memory file with this number, and takes over the descriptors that it names.
    ///
    /// # Errors
    /// No such descriptor, or no briefing in it.
    pub(crate) fn read(number: RawFd) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::from(sys::adopt_fd(number)?).read_to_end(&mut bytes)?;
        postcard::from_bytes(&bytes).map_err(io::Error::other)
    }
}
