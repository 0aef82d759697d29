//! An emulator and a client beside it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flexnode_vm::azcmagent::Place;
use flexnode_vm::azure::{AKS_SERVER, ARM_AUDIENCES, AgentConfig, Emulator, Himds, World, client, contoso};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;

pub(crate) struct Bench {
    pub(crate) azure: Emulator,
    pub(crate) client: reqwest::Client,
    runtime: Runtime,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    headers: reqwest::header::HeaderMap,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and error code, of whatever service.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        let codes = [&self.body["error"]["code"], &self.body["error"], &self.body["reason"]];
        (self.status, codes.iter().find_map(|code| code.as_str()).unwrap_or_default())
    }

    pub(crate) fn message(&self) -> &str {
        let messages = [&self.body["error"]["message"], &self.body["error_description"], &self.body["message"]];
        messages.iter().find_map(|message| message.as_str()).unwrap_or_default()
    }
}

pub(crate) fn contoso_bench() -> Bench {
    Bench::new(contoso::world())
}

impl Bench {
    pub(crate) fn new(world: World) -> Self {
        let azure = Emulator::start(world).unwrap();
        let (_, cluster_ca) = azure.api_server(&contoso::cluster_id()).unwrap();
        let trusted = format!("{}{cluster_ca}", azure.ca_pem());
        let client = client::client(&trusted, Duration::from_secs(20)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { azure, client, runtime }
    }

    pub(crate) fn try_send(&self, request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        self.runtime.block_on(async {
            let response = request.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
            Ok(Answer { status, body, headers })
        })
    }

    pub(crate) fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).unwrap()
    }

    /// A request for a token with these fields.
    pub(crate) fn token_request(&self, tenant: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let url = format!("{}/{tenant}/oauth2/v2.0/token", self.azure.entra());
        self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form)
    }

    /// The operator's token for ARM.
    pub(crate) fn operator(&self) -> String {
        let scope = format!("{}.default", ARM_AUDIENCES[0]);
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", contoso::APP),
            ("client_secret", contoso::SECRET),
            ("scope", &scope),
        ];
        let answer = self.send(self.token_request(contoso::TENANT, &fields));
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn arm(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.azure.arm()));
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Answer {
        self.send(self.arm(Method::GET, path, token))
    }

    pub(crate) fn put(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send(json_body(self.arm(Method::PUT, path, token), body))
    }

    pub(crate) fn post(&self, path: &str, token: &str) -> Answer {
        self.send(self.arm(Method::POST, path, token).header("content-length", "0"))
    }

    pub(crate) fn kubernetes(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let (server, _) = self.azure.api_server(&contoso::cluster_id()).unwrap();
        let request = self.client.request(method, format!("{server}{path}"));
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    /// What ARM answers to bytes that no HTTP client would send.
    pub(crate) fn raw(&self, request: &str) -> String {
        let address = self.azure.arm().trim_start_matches("https://");
        let connection = client::tls(self.azure.ca_pem()).unwrap();
        self.runtime.block_on(async {
            let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
            let name = "127.0.0.1".try_into().unwrap();
            let mut tls = tokio_rustls::TlsConnector::from(Arc::new(connection)).connect(name, tcp).await.unwrap();
            tls.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            tls.read_to_string(&mut answer).await.unwrap();
            answer
        })
    }

    /// Registers a machine; its object id.
    pub(crate) fn register(&self, name: &str) -> String {
        let answer = self.put(&machine_path(name), &self.operator(), &machine_body("vm-1"));
        assert_eq!(answer.status, 201, "{}", answer.body);
        self.azure.machine(&contoso::machine_id(name)).unwrap().principal_id
    }
}

/// A connected machine with its HIMDS.
pub(crate) struct ArcMachine {
    pub(crate) himds: Himds,
    pub(crate) oid: String,
    pub(crate) home: TempDir,
}

impl ArcMachine {
    pub(crate) fn new(bench: &Bench) -> Self {
        let home = tempfile::tempdir().unwrap();
        let oid = bench.register("edge-1");
        let config = AgentConfig {
            subscription_id: contoso::SUBSCRIPTION.to_owned(),
            resource_group: contoso::MACHINES.to_owned(),
            resource_name: "edge-1".to_owned(),
            tenant_id: contoso::TENANT.to_owned(),
            location: "westeurope".to_owned(),
            cloud: "AzureCloud".to_owned(),
            vm_id: "vm-1".to_owned(),
            correlation_id: String::new(),
        };
        Place::at(&home.path().join("state")).point_to(&bench.azure).unwrap();
        let text = serde_json::to_string(&config).unwrap();
        std::fs::write(home.path().join("state").join(AgentConfig::FILE), text).unwrap();
        let himds = bench.azure.himds(&home.path().join("state"), &home.path().join("tokens"), 0).unwrap();
        Self { himds, oid, home }
    }

    pub(crate) fn url(&self, resource: &str) -> String {
        let resource: String = form_urlencoded::byte_serialize(resource.as_bytes()).collect();
        let url = self.himds.url();
        format!("{url}/metadata/identity/oauth2/token?api-version=2020-06-01&resource={resource}")
    }

    /// A challenge's file.
    pub(crate) fn challenge(&self, bench: &Bench, resource: &str) -> PathBuf {
        let answer = bench.send(bench.client.get(self.url(resource)).header("Metadata", "true"));
        assert_eq!(answer.status, 401, "{}", answer.body);
        answer.header("www-authenticate").strip_prefix("Basic realm=").unwrap().into()
    }

    pub(crate) fn answer(&self, bench: &Bench, resource: &str) -> Answer {
        let key = std::fs::read_to_string(self.challenge(bench, resource)).unwrap();
        let request = bench.client.get(self.url(resource)).header("Metadata", "true");
        bench.send(request.header("Authorization", format!("Basic {key}")))
    }

    pub(crate) fn token(&self, bench: &Bench, resource: &str) -> String {
        let answer = self.answer(bench, resource);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn arm_token(&self, bench: &Bench) -> String {
        self.token(bench, ARM_AUDIENCES[0])
    }

    pub(crate) fn kubernetes_token(&self, bench: &Bench) -> String {
        self.token(bench, AKS_SERVER)
    }
}

pub(crate) fn json_body(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header("content-type", "application/json").body(body.to_string())
}

pub(crate) fn machine_path(name: &str) -> String {
    format!("{}?api-version=2022-12-27", contoso::machine_id(name))
}

pub(crate) fn machine_body(vm_id: &str) -> Value {
    json!({
        "location": "West Europe",
        "tags": {"site": "hall 4"},
        "identity": {"type": "SystemAssigned"},
        "properties": {"vmId": vm_id, "clientPublicKey": "k", "agentVersion": "1.61", "osType": "linux"},
    })
}

pub(crate) fn cluster_path(action: &str) -> String {
    format!("{}{action}?api-version=2024-09-01", contoso::cluster_id())
}

pub(crate) fn assignment_path(name: &str) -> String {
    let cluster = contoso::cluster_id();
    format!("{cluster}/providers/Microsoft.Authorization/roleAssignments/{name}?api-version=2022-04-01")
}

pub(crate) fn assignment_body(role: &str, principal: &str) -> Value {
    let subscription = contoso::SUBSCRIPTION;
    let definition = format!("/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}");
    json!({"properties": {
        "roleDefinitionId": definition, "principalId": principal, "principalType": "ServicePrincipal",
    }})
}
