//! Names of hops, by reverse lookup.

use std::{
    ffi::{CStr, c_char},
    net::{IpAddr, SocketAddr},
};

use socket2::SockAddr;

/// The name that the resolver has for `address`, if any. May take seconds.
pub(super) fn of(address: IpAddr) -> Option<String> {
    let address = SockAddr::from(SocketAddr::new(address, 0));
    let mut name: [c_char; 1_025] = [0; 1_025];
    // SAFETY: the address is as long as it says, and the name has the room that is said.
    let outcome = unsafe {
        libc::getnameinfo(
            address.as_ptr().cast(),
            address.len(),
            name.as_mut_ptr(),
            name.len() as libc::socklen_t,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if outcome != 0 {
        return None;
    }
    // SAFETY: `getnameinfo` ends the name with a zero within the room that it has.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    name.to_str().ok().map(str::to_owned)
}
