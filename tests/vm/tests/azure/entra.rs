//! Entra ID: tokens for who proves who they are, the documented error for everybody else.

use flexnode_vm::azure::{AKS_SERVER, ARM_AUDIENCES, App, contoso, role};
use reqwest::Method;

use crate::bench::{Answer, Bench, cluster_path, contoso_bench};

const GOOD: [(&str, &str); 4] = [
    ("grant_type", "client_credentials"),
    ("client_id", contoso::APP),
    ("client_secret", contoso::SECRET),
    ("scope", "https://management.core.flexnode-lab.test//.default"),
];

/// The good request with one field changed, or left out where it is empty.
fn with(bench: &Bench, field: &str, value: &str) -> Answer {
    let fields = GOOD.map(|(name, old)| (name, if name == field { value } else { old }));
    let fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    bench.send(bench.token_request(contoso::TENANT, &fields))
}

fn aadsts(answer: &Answer) -> (u16, &str, u64) {
    let code = answer.body["error_codes"][0].as_u64().unwrap();
    assert!(answer.message().starts_with(&format!("AADSTS{code}: ")), "{}", answer.message());
    for field in ["timestamp", "trace_id", "correlation_id"] {
        assert!(answer.body[field].is_string(), "{field}");
    }
    (answer.status, answer.body["error"].as_str().unwrap(), code)
}

#[test]
fn a_right_secret_gets_a_token_by_tenant_id_and_domain() {
    let bench = contoso_bench();
    for tenant in [contoso::TENANT, contoso::DOMAIN, "Contoso.OnMicrosoft.com"] {
        let answer = bench.send(bench.token_request(tenant, &GOOD));
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["token_type"], "Bearer");
        assert_eq!((&answer.body["expires_in"], &answer.body["ext_expires_in"]), (&3599.into(), &3599.into()));
        assert_eq!(bench.get(&cluster_path(""), answer.body["access_token"].as_str().unwrap()).status, 200);
    }
    let requests = bench.azure.requests_for(flexnode_vm::azure::Operation::Token);
    assert!(requests.iter().all(|request| request.principal.as_deref() == Some(contoso::APP)));
}

#[test]
fn every_wrong_field_has_its_documented_error() {
    let bench = Bench::new(contoso::world().app(App::new(role::OWNER, "x").expired()));
    let cases = [
        ("client_secret", "wrong", (401, "invalid_client", 7_000_215)),
        ("client_secret", "", (401, "invalid_client", 7_000_218)),
        ("client_id", role::READER, (400, "unauthorized_client", 700_016)),
        ("client_id", "", (400, "invalid_request", 900_144)),
        ("grant_type", "", (400, "invalid_request", 900_144)),
        ("grant_type", "password", (400, "unsupported_grant_type", 70_003)),
        ("scope", "", (400, "invalid_request", 900_144)),
        ("scope", ARM_AUDIENCES[0], (400, "invalid_scope", 70_011)),
        ("scope", "a b/.default", (400, "invalid_scope", 70_011)),
        ("scope", "https://management.azure.com/.default", (400, "invalid_resource", 500_011)),
    ];
    for (field, value, expected) in cases {
        assert_eq!(aadsts(&with(&bench, field, value)), expected, "{field}={value}");
    }
    let expired = [GOOD[0], ("client_id", role::OWNER), ("client_secret", "x"), GOOD[3]];
    let answer = bench.send(bench.token_request(contoso::TENANT, &expired));
    assert_eq!(aadsts(&answer), (401, "invalid_client", 7_000_222));
}

#[test]
fn tenants_methods_and_content_types_are_checked() {
    let bench = contoso_bench();
    let unknown = bench.send(bench.token_request(role::READER, &GOOD));
    assert_eq!(aadsts(&unknown), (400, "invalid_request", 90_002));
    let unknown = bench.send(bench.token_request("fabrikam.example", &GOOD));
    assert_eq!(aadsts(&unknown), (400, "invalid_request", 90_002));
    let malformed = bench.send(bench.token_request("nonsense", &GOOD));
    assert_eq!(aadsts(&malformed), (400, "invalid_request", 900_023));

    let json = bench.token_request(contoso::TENANT, &GOOD).build().unwrap();
    let form = std::str::from_utf8(json.body().unwrap().as_bytes().unwrap()).unwrap().to_owned();
    let url = json.url().clone();
    let wrong = bench.send(bench.client.post(url.clone()).header("content-type", "application/json").body(form));
    assert_eq!(aadsts(&wrong), (400, "invalid_request", 900_144));
    assert_eq!(aadsts(&bench.send(bench.client.get(url))), (400, "invalid_request", 900_561));
    assert_eq!(bench.send(bench.client.get(format!("{}/nothing", bench.azure.entra()))).status, 404);
}

#[test]
fn a_token_is_signed_with_the_published_key_and_says_what_it_is_for() {
    let bench = contoso_bench();
    let token =
        with(&bench, "scope", &format!("{AKS_SERVER}/.default")).body["access_token"].as_str().unwrap().to_owned();
    let parts: Vec<Vec<u8>> = token.split('.').map(decode).collect();
    let header: serde_json::Value = serde_json::from_slice(&parts[0]).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&parts[1]).unwrap();
    assert_eq!((&claims["aud"], &claims["tid"]), (&AKS_SERVER.into(), &contoso::TENANT.into()));
    assert_eq!((&claims["oid"], &claims["appid"]), (&contoso::APP_OBJECT.into(), &contoso::APP.into()));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3599);

    let authority = bench.azure.entra();
    let metadata = format!("{authority}/{}/v2.0/.well-known/openid-configuration", contoso::DOMAIN);
    let metadata = bench.send(bench.client.get(metadata));
    let keys = bench.send(bench.client.get(metadata.body["jwks_uri"].as_str().unwrap()));
    let key = &keys.body["keys"][0];
    assert_eq!(key["kid"], header["kid"]);
    let point = [vec![4], decode(key["x"].as_str().unwrap()), decode(key["y"].as_str().unwrap())].concat();
    let signed = token.rsplit_once('.').unwrap().0;
    ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &parts[2])
        .unwrap();

    let discovery = |endpoint: &str| {
        let url = format!("{authority}/common/discovery/instance?api-version=1.1&authorization_endpoint={endpoint}");
        bench.send(bench.client.get(url))
    };
    let known = discovery(&format!("{authority}/{}/oauth2/v2.0/authorize", contoso::TENANT));
    assert!(known.body["tenant_discovery_endpoint"].as_str().unwrap().starts_with(authority));
    assert_eq!(aadsts(&discovery("https://elsewhere.test/x")), (400, "invalid_instance", 50_049));
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
}

#[test]
fn arm_describes_itself_without_a_token() {
    let bench = contoso_bench();
    let answer = bench.get("/metadata/endpoints?api-version=2022-09-01", "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["authentication"]["loginEndpoint"], bench.azure.entra());
    assert_eq!(answer.body["authentication"]["audiences"][0], ARM_AUDIENCES[0]);
    assert_eq!(answer.body["resourceManager"], bench.azure.arm());
    assert_eq!(bench.get("/metadata/endpoints", "").refusal(), (400, "MissingApiVersionParameter"));
    let wrong = bench.get("/metadata/endpoints?api-version=2015-01-01", "");
    assert_eq!(wrong.refusal(), (400, "NoRegisteredProviderFound"));
    let posted = bench.send(bench.arm(Method::POST, "/metadata/endpoints?api-version=2022-09-01", ""));
    assert_eq!(posted.refusal(), (405, "MethodNotAllowed"));
}
