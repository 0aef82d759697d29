//! The clouds that the emulator can be: one of its own, and Azure's, by the names that their documentation gives.
//!
//! Written down apart from the agent's own table, so that each is held against the other.

use std::net::IpAddr;

use super::Emulator;
use super::state::ARM_AUDIENCES;

/// Whose names the services go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cloud {
    /// The lab's own: addresses on loopback, audiences that no other cloud has.
    #[default]
    Lab,
    /// Azure.
    Public,
    /// Azure Government (US).
    UsGovernment,
    /// Azure operated by 21Vianet.
    China,
}

/// Host names of a cloud's services.
#[derive(Debug, Clone, Copy)]
pub struct Hosts {
    /// Entra ID.
    pub entra: &'static str,
    /// Azure Resource Manager.
    pub arm: &'static str,
}

impl Cloud {
    /// Azure's own.
    pub const AZURE: [Self; 3] = [Self::Public, Self::UsGovernment, Self::China];

    /// Its services' names; those of the lab have addresses alone.
    #[must_use]
    pub fn hosts(self) -> Option<Hosts> {
        let (entra, arm) = match self {
            Self::Lab => return None,
            Self::Public => ("login.microsoftonline.com", "management.azure.com"),
            Self::UsGovernment => ("login.microsoftonline.us", "management.usgovcloudapi.net"),
            Self::China => ("login.chinacloudapi.cn", "management.chinacloudapi.cn"),
        };
        Some(Hosts { entra, arm })
    }

    /// The name of the nth cluster's API server, as AKS makes them, for an address that names can lead to.
    pub(super) fn api_server(self, nth: usize, address: IpAddr) -> Option<String> {
        let domain = match self {
            Self::Lab => return None,
            Self::Public => "hcp.westeurope.azmk8s.io",
            Self::UsGovernment => "hcp.usgovvirginia.cx.aks.containerservice.azure.us",
            Self::China => "hcp.chinaeast2.cx.prod.service.azk8s.cn",
        };
        (!address.is_loopback()).then(|| format!("edge-{nth}.{domain}"))
    }

    /// What tokens for Azure Resource Manager may be for.
    pub(super) fn audiences(self) -> [&'static str; 2] {
        match self {
            Self::Lab => ARM_AUDIENCES,
            Self::Public => ["https://management.core.windows.net/", "https://management.azure.com/"],
            Self::UsGovernment => {
                ["https://management.core.usgovcloudapi.net/", "https://management.usgovcloudapi.net/"]
            }
            Self::China => ["https://management.core.chinacloudapi.cn/", "https://management.chinacloudapi.cn/"],
        }
    }

    /// The value of `azure.cloud` in a node's config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lab | Self::Public => "AzurePublicCloud",
            Self::UsGovernment => "AzureUSGovernment",
            Self::China => "AzureChinaCloud",
        }
    }

    /// The value of `azcmagent --cloud`.
    fn azcmagent(self) -> &'static str {
        match self {
            Self::Lab | Self::Public => "AzureCloud",
            Self::UsGovernment => "AzureUSGovernment",
            Self::China => "AzureChinaCloud",
        }
    }
}

impl Emulator {
    /// Whether its services go by Azure's own names.
    pub(super) fn is_azure(&self) -> bool {
        self.cloud != Cloud::Lab
    }

    /// The value of `azcmagent --cloud` that leads here.
    pub(crate) fn azcmagent_cloud(&self) -> &'static str {
        self.cloud.azcmagent()
    }
}
