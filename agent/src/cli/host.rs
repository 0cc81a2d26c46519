//! What `config` wants to know about this machine.

use crate::config::Host;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use std::net::IpAddr;

/// The host's name and the addresses of all interfaces that are up. What cannot be found out is left empty, and `config`
/// says what is missing if it matters.
pub(crate) fn gather() -> Host {
    let hostname = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut interfaces = Vec::new();
    for interface in getifaddrs().into_iter().flatten() {
        if !interface.flags.contains(InterfaceFlags::IFF_UP) {
            continue;
        }
        let Some(address) = interface.address else { continue };
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        let v6 = || address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip()));
        interfaces.extend(v4.or_else(v6).map(|ip| (interface.interface_name, ip)));
    }
    Host { hostname, interfaces }
}
