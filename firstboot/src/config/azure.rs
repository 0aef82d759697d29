//! Azure's names, parsed: GUIDs, tenants, clouds, regions, roles. No flaw repeats the value: it may be a misplaced secret.

use std::fmt;
use std::str::FromStr;

use super::Flaw;

/// A GUID, kept in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(String);

impl FromStr for Guid {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let groups = text.split('-').map(str::len);
        if groups.eq([8, 4, 4, 4, 12]) && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        Err(Flaw::new("not a GUID", "write 32 hex digits as 8-4-4-4-12, like 6dae42f8-4368-4678-94ff-3960e28e3630"))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Microsoft Entra tenant: GUID or domain, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant(String);

impl FromStr for Tenant {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let folded = text.to_ascii_lowercase();
        // `common`, `organizations` and `consumers` are authorities, not tenants: they have no dot.
        let is_domain = folded.contains('.') && super::kubernetes::is_dns_subdomain(&folded, 253);
        if is_domain || Guid::from_str(&folded).is_ok() {
            return Ok(Self(folded));
        }
        Err(Flaw::new(
            "neither a GUID nor a domain",
            "`az account show --query tenantId` prints the GUID; a domain is like contoso.onmicrosoft.com",
        ))
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An Azure cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cloud {
    /// Azure.
    #[default]
    AzurePublicCloud,
    /// Azure Government (US).
    AzureUSGovernment,
    /// Azure operated by 21Vianet.
    AzureChinaCloud,
}

/// What differs between the clouds.
#[derive(Debug, PartialEq, Eq)]
pub struct CloudFacts {
    /// The value of `azure.cloud`.
    pub name: &'static str,
    /// Azure Resource Manager, an origin without trailing slash.
    pub resource_manager: &'static str,
    /// Microsoft Entra ID's authority, an origin without trailing slash.
    pub authority: &'static str,
    /// Scope of a token for Azure Resource Manager.
    pub token_scope: &'static str,
    /// The value of `azcmagent --cloud`.
    pub azcmagent: &'static str,
}

impl Cloud {
    /// All clouds.
    pub const ALL: [Self; 3] = [Self::AzurePublicCloud, Self::AzureUSGovernment, Self::AzureChinaCloud];

    /// The endpoints and names of this cloud.
    #[must_use]
    pub const fn facts(self) -> &'static CloudFacts {
        match self {
            Self::AzurePublicCloud => &CloudFacts {
                name: "AzurePublicCloud",
                resource_manager: "https://management.azure.com",
                authority: "https://login.microsoftonline.com",
                token_scope: "https://management.azure.com/.default",
                azcmagent: "AzureCloud",
            },
            Self::AzureUSGovernment => &CloudFacts {
                name: "AzureUSGovernment",
                resource_manager: "https://management.usgovcloudapi.net",
                authority: "https://login.microsoftonline.us",
                token_scope: "https://management.core.usgovcloudapi.net/.default",
                azcmagent: "AzureUSGovernment",
            },
            Self::AzureChinaCloud => &CloudFacts {
                name: "AzureChinaCloud",
                resource_manager: "https://management.chinacloudapi.cn",
                authority: "https://login.chinacloudapi.cn",
                token_scope: "https://management.core.chinacloudapi.cn/.default",
                azcmagent: "AzureChinaCloud",
            },
        }
    }
}

impl FromStr for Cloud {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let names = Self::ALL.map(|cloud| cloud.facts().name);
        Self::ALL.into_iter().find(|cloud| cloud.facts().name == text).ok_or_else(|| {
            let hint = match crate::suggest::nearest(text, names) {
                Some(right) => format!("did you mean {right}?"),
                None => format!("known are {}", names.join(", ")),
            };
            Flaw::new("unknown cloud", hint)
        })
    }
}

/// An Azure region by its short name: `East US` is kept as `eastus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region(String);

impl FromStr for Region {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let short: String = text.chars().filter(|c| *c != ' ').map(|c| c.to_ascii_lowercase()).collect();
        if !short.is_empty() && short.len() <= 64 && short.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Ok(Self(short));
        }
        Err(Flaw::new("not an Azure region", "`az account list-locations -o table` lists them, such as westeurope"))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An Azure role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// By the GUID of its definition.
    Id(Guid),
    /// By its name, which Azure Resource Manager must resolve.
    Name(String),
}

impl FromStr for Role {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        // Azure allows 512 characters; the rest keeps a name apart from a path or a filter expression.
        let is_name = (1..=512).contains(&text.chars().count())
            && text.trim() == text
            && !text.contains(|c: char| c.is_control() || matches!(c, '/' | '\'' | '\\'));
        if is_name {
            return Ok(Self::Name(text.to_owned()));
        }
        Err(Flaw::new("neither a role's name nor a GUID", "`az role definition list -o table` lists the names"))
    }
}
