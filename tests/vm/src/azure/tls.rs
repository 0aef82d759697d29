//! The certificates that a service shows, good and bad.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, date_time_ymd};
use rustls::ServerConfig;

use crate::faults::Authority;

/// What goes wrong before there is a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// A certificate of an authority that nobody trusts.
    UnknownAuthority,
    /// A certificate for another name.
    WrongName,
    /// A certificate whose time is over.
    Expired,
    /// A TCP reset in the middle of the handshake.
    Reset,
    /// Silence in the middle of the handshake.
    Hang,
}

/// What one service shows.
pub(super) struct Identity {
    own: Vec<String>,
    good: Mutex<Arc<ServerConfig>>,
    unknown: Arc<ServerConfig>,
    wrong_name: Arc<ServerConfig>,
    expired: Arc<ServerConfig>,
    planned: Mutex<VecDeque<TlsFault>>,
}

/// How to meet one connection.
pub(super) enum Welcome {
    Handshake(Arc<ServerConfig>),
    Reset,
    Hang,
}

impl Identity {
    /// For a service at this address that also goes by the name `host`, if it has one.
    pub(super) fn new(authority: &Authority, host: Option<&str>, address: IpAddr) -> Result<Self> {
        let mut own: Vec<String> = NAMES.into_iter().chain(host).map(str::to_owned).collect();
        if !address.is_loopback() {
            own.push(address.to_string());
        }
        let mut expired = names(&own)?;
        (expired.not_before, expired.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2020, 12, 31));
        Ok(Self {
            good: Mutex::new(good(authority, &own)?),
            unknown: good(&Authority::named("Nobody's authority")?, &own)?,
            wrong_name: Arc::new(authority.server(&names(&["elsewhere.flexnode-lab.test".to_owned()])?)?),
            expired: Arc::new(authority.server(&expired)?),
            planned: Mutex::default(),
            own,
        })
    }

    /// The fault of each of the next connections, in this order.
    pub(super) fn plan(&self, faults: impl IntoIterator<Item = TlsFault>) {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).extend(faults);
    }

    /// Forgets the faults that are planned.
    pub(super) fn behave(&self) {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// From now on a certificate of this authority.
    pub(super) fn change(&self, authority: &Authority) -> Result<()> {
        *self.good.lock().unwrap_or_else(PoisonError::into_inner) = good(authority, &self.own)?;
        Ok(())
    }

    pub(super) fn welcome(&self) -> Welcome {
        let planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let good = || Arc::clone(&self.good.lock().unwrap_or_else(PoisonError::into_inner));
        match planned {
            None => Welcome::Handshake(good()),
            Some(TlsFault::UnknownAuthority) => Welcome::Handshake(Arc::clone(&self.unknown)),
            Some(TlsFault::WrongName) => Welcome::Handshake(Arc::clone(&self.wrong_name)),
            Some(TlsFault::Expired) => Welcome::Handshake(Arc::clone(&self.expired)),
            Some(TlsFault::Reset) => Welcome::Reset,
            Some(TlsFault::Hang) => Welcome::Hang,
        }
    }
}

/// What the services are called: loopback, and `*.flexnode-lab.test` for clients that resolve names themselves.
const NAMES: [&str; 4] = ["127.0.0.1", "::1", "localhost", "*.flexnode-lab.test"];

fn good(authority: &Authority, own: &[String]) -> Result<Arc<ServerConfig>> {
    Ok(Arc::new(authority.server(&names(own)?)?))
}

fn names(names: &[String]) -> Result<CertificateParams> {
    CertificateParams::new(names).context("name a certificate")
}
