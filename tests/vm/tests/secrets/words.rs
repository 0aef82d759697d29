//! What the other verbs say: `status`, `check`, and every complaint about a config that holds a secret.

use std::process::Command;

use flexnode_vm::azure::contoso;

use crate::bench::Bench;

fn agent(bench: &Bench, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(bench.site.join().get_program());
    let output = command.args(arguments).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(bench.canaries().found_in(&said), None, "{}", String::from_utf8_lossy(&said));
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn status_and_check_show_no_secret_before_during_and_after() {
    let bench = Bench::new();
    let root = bench.site.root().display().to_string();
    let config = bench.site.game.config.display().to_string();
    let look = || {
        for arguments in [&["status", "--root", &root][..], &["status", "--json", "--root", &root]] {
            assert_eq!(agent(&bench, arguments).0, Some(0));
        }
        assert_eq!(agent(&bench, &["check", "--config", &config]).0, Some(0));
    };
    look();
    bench.site.game.emulator.change_secret(contoso::APP, "another");
    assert_eq!(bench.join().code, Some(77));
    look();
    bench.site.game.emulator.change_secret(contoso::APP, &bench.secret);
    assert_eq!(bench.join().code, Some(0));
    look();
    let line = format!("clientSecret: {}", bench.secret);
    bench.configure(|config| config.replace(&bench.secret_line(), &line));
    look();
}

#[test]
fn a_check_that_crashes_leaves_no_dump_of_the_config() {
    let mut bench = Bench::new();
    let line = format!("clientSecret: {}", bench.secret);
    bench.configure(|config| config.replace(&bench.secret_line(), &line));
    bench.allowed.push(bench.site.game.config.clone());
    let mut check = Command::new(bench.site.join().get_program());
    check.arg("check").arg("--config").arg(&bench.site.game.config).env("PATH", "/usr/bin:/bin");
    assert_eq!(bench.start(check).end().code, Some(0));
    bench.holds_no_secret();
}

#[test]
fn no_complaint_about_a_config_repeats_the_secret_in_it() {
    let bench = Bench::new();
    let key = format!("clientSecret: {}", bench.secret);
    let secret = &bench.secret;
    let wrong = [
        format!("clientSecret: [{secret}]"),
        format!("clientSecret: {{{secret}: {secret}}}"),
        format!("clientSecret: ' {secret}'"),
        format!("clientSecret: \"{secret}"),
        format!("clientSecret: '{secret}"),
        format!("clientSecret: !{secret} x"),
        format!("clientSecret: &{secret}"),
        format!("clientSecret: *{secret}"),
        format!("clientSecret: @{secret}"),
        format!("clientSecret: `{secret}"),
        format!("clientSecret: %{secret}"),
        format!("clientSecret: {secret}: {secret}"),
        format!("clientSecret: {{{secret}"),
        format!("clientSecret: \"\\{secret}\""),
        format!("clientSecret: |\n{secret}"),
        format!("clientSecret:{secret}"),
        format!("clientSecret={secret}"),
        format!("\tclientSecret: {secret}"),
        format!("clientsecret: {secret}"),
        format!("ClientSecret: {secret}"),
        format!("clientSecret: {secret}\n    clientSecret: {secret}"),
        format!("clientSecret: {secret}\n    clientSecretFile: /x"),
        format!("clientSecret: {secret}\n    removeSecretAfterJoin: true"),
        format!("clientSecretFile: {secret}"),
        format!("clientSecretCredential: a/{secret}"),
        format!("removeSecretAfterJoin: {secret}"),
        format!("{secret}: clientSecret"),
        secret.clone(),
        format!("- {secret}"),
        format!("? {secret}"),
        format!("<<: {secret}"),
        format!("<<: *{secret}"),
        format!("clientSecret: {secret}\n   tenantId: x"),
    ];
    for line in wrong {
        bench.configure(|config| config.replace(&bench.secret_line(), &line));
        complains(&bench, &line);
        bench.configure(|config| config.replace(&line, &bench.secret_line()));
    }
    for document in [
        format!("azure: {{servicePrincipal: {secret}}}"),
        format!("azure: {secret}"),
        secret.clone(),
        format!("{{\"azure\": {{\"servicePrincipal\": {{\"clientSecret\": \"{secret}\", }}}}"),
        format!("{{\"azure\": {{\"servicePrincipal\": {{\"clientSecret\": {secret}}}}}}}"),
        format!("--- {secret}\n---\n{secret}"),
        format!("%{secret}"),
    ] {
        let kept = std::fs::read_to_string(&bench.site.game.config).unwrap();
        bench.configure(|_| document.clone());
        complains(&bench, &document);
        bench.configure(|_| kept);
    }
    // A right one, in a file that others can read, and in a drop-in.
    let readable = bench.write("readable.yaml", &format!("azure: {{servicePrincipal: {{{key}}}}}"));
    std::fs::set_permissions(&readable, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let said = agent(&bench, &["check", "--config", readable.to_str().unwrap()]);
    assert!(said.0 == Some(78) && said.1.contains("may be read by others"), "{said:?}");
    bench.write("config.d/10.yaml", &format!("azure: {{servicePrincipal: {{{key}, lable: 1}}}}"));
    complains(&bench, "a drop-in");
}

/// Both the check and the join do.
fn complains(bench: &Bench, about: &str) {
    let (config, root) = (bench.site.game.config.display().to_string(), bench.site.root().display().to_string());
    for arguments in [&["check", "--config", &config][..], &["--root", &root, "--config", &config]] {
        let (code, said) = agent(bench, arguments);
        assert!(code == Some(78) && said.contains("error: ") && said.contains("hint: "), "{about}: {code:?} {said}");
    }
}
