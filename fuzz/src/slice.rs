//! Bytes as the kernel side's parser takes them, for whoever compiles it for this host.

use std::mem::MaybeUninit;

use super::segment::Packet;

/// A packet in memory, as `bpf_skb_load_bytes` reads one in the kernel.
pub(crate) struct Slice<'a> {
    pub(crate) bytes: &'a [u8],
    /// How many of them lie in one piece.
    pub(crate) linear: usize,
}

impl Packet for Slice<'_> {
    fn in_place<const N: usize>(&self) -> Option<&[u8; N]> {
        self.bytes.get(..self.linear)?.first_chunk()
    }

    fn load<'a, const N: usize>(
        &self,
        offset: u32,
        into: &'a mut MaybeUninit<[u8; N]>,
    ) -> Option<&'a [u8; N]> {
        let offset = usize::try_from(offset).ok()?;
        Some(into.write(*self.bytes.get(offset..)?.first_chunk()?))
    }

    fn load_over<const N: usize>(&self, offset: u32, len: u32, into: &mut [u8; N]) -> Option<u8> {
        let len = N.min(usize::try_from(len).ok()?);
        let offset = usize::try_from(offset).ok()?;
        let from = self.bytes.get(offset..)?.get(..len)?;
        into.get_mut(..len)?.copy_from_slice(from);
        u8::try_from(len).ok()
    }
}
