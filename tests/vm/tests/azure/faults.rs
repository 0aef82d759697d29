//! Every fault is what it says, at every service, and befalls the request it was planned for.

use std::time::{Duration, Instant};

use flexnode_vm::azure::{Clock, Fault, Operation, Recorded, Service, TlsFault, When, client, contoso};
use reqwest::{Method, RequestBuilder};

use crate::bench::{ArcMachine, Bench, cluster_path, contoso_bench, json_body, machine_body, machine_path};

/// A harmless request to each service.
fn requests(bench: &Bench, machine: &ArcMachine) -> [(Service, RequestBuilder); 4] {
    [
        (Service::Entra, bench.token_request(contoso::TENANT, &[])),
        (Service::Arm, bench.arm(Method::GET, "/metadata/endpoints?api-version=2022-09-01", "")),
        (Service::Himds, bench.client.get(machine.url("x")).header("Metadata", "true")),
        (Service::Kubernetes, bench.kubernetes(Method::GET, "/version", "")),
    ]
}

fn last(bench: &Bench) -> Recorded {
    bench.azure.requests().pop().unwrap()
}

#[test]
fn each_service_fails_in_its_own_words() {
    let bench = contoso_bench();
    let machine = ArcMachine::new(&bench);
    for (service, request) in requests(&bench, &machine) {
        let again = || request.try_clone().unwrap();
        let usual = bench.send(again()).status;
        bench.azure.inject(When::service(service).nth(1), Fault::Throttled { retry_after: 7 });
        let throttled = bench.send(again());
        assert_eq!((throttled.status, throttled.header("retry-after")), (429, "7"), "{service:?}");
        for status in [500, 502, 503, 504] {
            bench.azure.behave();
            bench.azure.inject(When::service(service).nth(1), Fault::Status(status));
            let answer = bench.send(again());
            assert_eq!(answer.status, status, "{service:?}");
            assert!(!answer.refusal().1.is_empty(), "{service:?}: {}", answer.body);
            assert_eq!(last(&bench).status, Some(status));
        }
        let headers = vec![("x-odd".to_owned(), "yes".to_owned())];
        bench.azure.behave();
        bench
            .azure
            .inject(When::service(service).nth(1), Fault::Answer { status: 418, headers, body: "{}".to_owned() });
        let answer = bench.send(again());
        assert_eq!((answer.status, answer.header("x-odd")), (418, "yes"));
        assert_eq!(bench.send(again()).status, usual, "{service:?} behaves again");
    }
}

#[test]
fn connections_are_reset_hang_break_off_and_crawl_at_every_service() {
    let bench = contoso_bench();
    let machine = ArcMachine::new(&bench);
    for (service, request) in requests(&bench, &machine) {
        let with = |fault: Fault| {
            bench.azure.behave();
            bench.azure.inject(When::service(service).nth(1), fault);
            let request = request.try_clone().unwrap().timeout(Duration::from_millis(500));
            bench.try_send(request).map(|answer| answer.status)
        };
        let usual = bench.send(request.try_clone().unwrap()).status;
        let reset = with(Fault::Reset).unwrap_err();
        assert!(!reset.is_timeout() && causes(&reset).contains("reset"), "{service:?}: {}", causes(&reset));
        assert_eq!(last(&bench).status, None);
        assert!(with(Fault::Hang).unwrap_err().is_timeout(), "{service:?}");
        assert_eq!((last(&bench).status, last(&bench).fault.as_deref()), (None, Some("Hang")));
        let reset = with(Fault::ResetBody { after: 10 }).unwrap_err();
        assert!(!reset.is_timeout() && causes(&reset).contains("body"), "{service:?}: {}", causes(&reset));
        let cut = with(Fault::Truncate { after: 10 }).unwrap_err();
        assert!(!cut.is_timeout() && causes(&cut).contains("body"), "{service:?}: {}", causes(&cut));
        assert!(with(Fault::StallBody { after: 10 }).unwrap_err().is_timeout(), "{service:?}");
        let begun = Instant::now();
        assert_eq!(with(Fault::Slow { chunk: 40, pause: Duration::from_millis(10) }).unwrap(), usual, "{service:?}");
        assert!(begun.elapsed() >= Duration::from_millis(10));
        assert_eq!(with(Fault::Skew(0)).unwrap(), usual);
    }
}

fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

#[test]
fn a_lost_answer_leaves_its_work_behind_and_a_reset_none() {
    let bench = contoso_bench();
    let token = bench.operator();
    let write = || json_body(bench.arm(Method::PUT, &machine_path("x"), &token), &machine_body("a"));
    bench.azure.inject(When::operation(Operation::MachineWrite).nth(1), Fault::Reset);
    bench.azure.inject(When::operation(Operation::MachineWrite).nth(2), Fault::LoseAnswer);
    assert!(bench.try_send(write()).is_err());
    assert!(bench.azure.machines().is_empty());
    assert!(bench.try_send(write()).is_err());
    assert_eq!(bench.azure.machines().len(), 1);
    let statuses: Vec<_> = bench.azure.requests_for(Operation::MachineWrite).iter().map(|one| one.status).collect();
    assert_eq!(statuses, [None, None]);
    assert_eq!(bench.send(write()).status, 200);
}

#[test]
fn a_doubled_request_gets_the_second_answer() {
    let bench = contoso_bench();
    let token = bench.operator();
    bench.azure.inject(When::operation(Operation::MachineWrite).nth(1), Fault::Twice);
    let answer = bench.put(&machine_path("x"), &token, &machine_body("a"));
    assert_eq!(answer.status, 200, "the first one made it");
    assert_eq!(bench.azure.machines().len(), 1);
}

#[test]
fn a_path_and_a_method_choose_a_request_too() {
    let bench = contoso_bench();
    let token = bench.operator();
    let when = When::path(Service::Arm, "*/MACHINES/*").method("GET").from(2);
    bench.azure.inject(when, Fault::Status(503));
    assert_eq!(bench.put(&machine_path("x"), &token, &machine_body("a")).status, 201);
    let read = || bench.get(&machine_path("x"), &token).status;
    assert_eq!([read(), read(), read()], [200, 503, 503]);
    assert_eq!(bench.get(&cluster_path(""), &token).status, 200);
    bench.azure.behave();
    assert_eq!(read(), 200);
}

#[test]
fn a_wrong_certificate_is_wrong_in_its_own_way() {
    let bench = contoso_bench();
    let urls = [
        (Service::Entra, bench.azure.entra().to_owned()),
        (Service::Arm, bench.azure.arm().to_owned()),
        (Service::Kubernetes, bench.azure.api_server(&contoso::cluster_id()).unwrap().0),
    ];
    let trusted = format!("{}{}", bench.azure.ca_pem(), bench.azure.api_server(&contoso::cluster_id()).unwrap().1);
    for (service, url) in urls {
        // A client of its own each time: a connection that is kept meets no certificate.
        let reach = || {
            let client = client::client(&trusted, Duration::from_millis(500)).unwrap();
            bench.try_send(client.get(format!("{url}/nothing")))
        };
        let refused = |fault: TlsFault| {
            bench.azure.inject_tls(service, &[fault]);
            reach().map(|answer| answer.status).unwrap_err()
        };
        for (fault, word) in [
            (TlsFault::UnknownAuthority, "UnknownIssuer"),
            (TlsFault::WrongName, "not valid for name"),
            (TlsFault::Expired, "expired"),
            (TlsFault::Reset, "reset"),
        ] {
            let said = causes(&refused(fault));
            assert!(said.contains(word), "{service:?} {fault:?}: {said}");
        }
        assert!(refused(TlsFault::Hang).is_timeout(), "{service:?}");
        assert!(reach().is_ok(), "{service:?} shows the right one again");
        bench.azure.inject_tls(service, &[TlsFault::Expired; 3]);
        bench.azure.behave();
        assert!(reach().is_ok(), "{service:?} was told to behave");
    }
}

#[test]
fn a_name_that_does_not_resolve_fails_and_one_that_does_is_in_the_certificate() {
    let bench = contoso_bench();
    let address: std::net::SocketAddr = bench.azure.arm().trim_start_matches("https://").parse().unwrap();
    let url = format!("https://arm.flexnode-lab.test:{}/nothing", address.port());
    let lost = bench.try_send(bench.client.get(&url)).map(|answer| answer.status).unwrap_err();
    assert!(lost.is_connect() && causes(&lost).contains("dns"), "{}", causes(&lost));
    let tls = client::tls(bench.azure.ca_pem()).unwrap();
    let resolving = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
    let resolving = resolving.resolve("arm.flexnode-lab.test", address).build().unwrap();
    assert_eq!(bench.send(resolving.get(&url)).status, 400);
}

#[test]
fn a_skewed_clock_shows_in_dates_and_in_what_it_judges() {
    let bench = Bench::new(contoso::world().clock(Clock::standing()));
    let machine = ArcMachine::new(&bench);
    let date = |bench: &Bench| {
        let answer = bench.get("/metadata/endpoints?api-version=2022-09-01", "");
        jiff::fmt::rfc2822::parse(answer.header("date")).unwrap().timestamp().as_second()
    };
    let before = date(&bench);
    bench.azure.inject(When::operation(Operation::ArmMetadata).nth(1), Fault::Skew(-3600));
    assert_eq!(date(&bench) - before, -3600);

    // A token from a clock that is ahead does not hold yet elsewhere; one from behind may be over.
    bench.azure.inject(When::operation(Operation::Token).nth(1), Fault::Skew(600));
    let token = bench.operator();
    assert_eq!(bench.get(&cluster_path(""), &token).refusal(), (401, "InvalidAuthenticationToken"));
    bench.azure.behave();
    bench.azure.inject(When::operation(Operation::Token).nth(1), Fault::Skew(-3600));
    let token = bench.operator();
    assert_eq!(bench.get(&cluster_path(""), &token).refusal(), (401, "ExpiredAuthenticationToken"));
    bench.azure.behave();
    let token = bench.operator();
    bench.azure.inject(When::operation(Operation::ClusterRead), Fault::Skew(7200));
    assert_eq!(bench.get(&cluster_path(""), &token).refusal(), (401, "ExpiredAuthenticationToken"));

    bench.azure.behave();
    let expires = || -> i64 {
        let answer = machine.answer(&bench, flexnode_vm::azure::AKS_SERVER);
        answer.body["expires_on"].as_str().unwrap().parse().unwrap()
    };
    let first = expires();
    bench.azure.with_clock(|clock| clock.advance(Duration::from_secs(86_400 * 2)));
    bench.azure.inject(When::service(Service::Himds), Fault::Skew(-86_400 * 2));
    assert_eq!(expires(), first, "a machine whose clock is behind keeps a token that is over");
    bench.azure.behave();
    assert!(expires() > first);
}

#[test]
fn requests_are_recorded_with_who_what_and_how_it_ended() {
    let bench = contoso_bench();
    let (sender, seen) = std::sync::mpsc::channel();
    bench.azure.observe(move |request| sender.send(request.to_string()).unwrap());
    let token = bench.operator();
    bench.get(&cluster_path(""), &token);
    bench.post(&cluster_path("/listClusterUserCredential"), &token);
    let requests = bench.azure.requests();
    let seen: Vec<String> = seen.try_iter().collect();
    assert_eq!(requests.iter().map(ToString::to_string).collect::<Vec<_>>(), seen);
    assert_eq!(requests.len(), 3);
    let refused = &requests[2];
    assert_eq!((refused.service, refused.operation), (Service::Arm, Operation::ClusterUserCredential));
    assert_eq!((refused.method.as_str(), refused.status), ("POST", Some(403)));
    assert_eq!(
        (refused.query.as_str(), refused.error.as_deref()),
        ("api-version=2024-09-01", Some("AuthorizationFailed"))
    );
    assert_eq!(refused.principal.as_deref(), Some(contoso::APP_OBJECT));
    assert!(seen[2].starts_with("arm        403 POST   /subscriptions/"), "{}", seen[2]);
    assert!(!seen.join("\n").contains(contoso::SECRET) && !seen.join("\n").contains(&token));
    bench.azure.forget_requests();
    assert!(bench.azure.requests().is_empty());
}

#[test]
fn too_large_a_body_is_refused() {
    let bench = contoso_bench();
    let token = bench.operator();
    let request = bench.arm(Method::PUT, &machine_path("x"), &token).header("content-type", "application/json");
    assert_eq!(bench.send(request.body(vec![b' '; (1 << 20) + 1])).refusal(), (413, "RequestContentTooLarge"));
}
