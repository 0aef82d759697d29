//! Every request, for assertions and for people who watch.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::operation::{Operation, Service};

/// A request that reached a service.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The service.
    pub service: Service,
    /// What was asked.
    pub operation: Operation,
    /// `GET`, …
    pub method: String,
    /// As sent, without the query.
    pub path: String,
    /// As sent, without the question mark.
    pub query: String,
    /// Object id of who asked, or the client id at Entra ID, where it was told and believed.
    pub principal: Option<String>,
    /// The answer's status; none where there was no answer.
    pub status: Option<u16>,
    /// The error code in the answer's body, if there is one.
    pub error: Option<String>,
    /// The fault that befell it.
    pub fault: Option<String>,
    /// When, by the emulator's clock, since 1970.
    pub at: Duration,
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = format!("{:?}", self.service).to_lowercase();
        let status = self.status.map_or_else(|| "---".to_owned(), |status| status.to_string());
        write!(f, "{service:<10} {status} {:<6} {}", self.method, self.path)?;
        if let Some(error) = &self.error {
            write!(f, "  {error}")?;
        }
        if let Some(principal) = &self.principal {
            write!(f, "  by {principal}")?;
        }
        self.fault.as_ref().map_or(Ok(()), |fault| write!(f, "  [{fault}]"))
    }
}

type Observer = Box<dyn Fn(&Recorded) + Send>;

/// All requests so far.
#[derive(Default)]
pub(super) struct Log {
    requests: Mutex<Vec<Recorded>>,
    observer: Mutex<Option<Observer>>,
}

impl Log {
    pub(super) fn add(&self, request: Recorded) {
        if let Some(observer) = &*self.observer.lock().unwrap_or_else(PoisonError::into_inner) {
            observer(&request);
        }
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }

    pub(super) fn all(&self) -> Vec<Recorded> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn clear(&self) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn observe(&self, observer: Observer) {
        *self.observer.lock().unwrap_or_else(PoisonError::into_inner) = Some(observer);
    }
}
