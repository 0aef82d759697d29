//! Role assignments: made, found, or denied.

use std::process::Command;

use super::lab::{Lab, PRINCIPAL, azure, cluster};

#[test]
fn a_denied_assignment_fails_at_once_with_the_line_that_cures_it() {
    let lab = Lab::new(azure());
    let (code, said) = lab.run();
    assert_eq!((code, lab.count("PUT")), (Some(77), 1), "{said}");
    let line = format!("az role assignment create --assignee-object-id {PRINCIPAL} --assignee-principal-type");
    assert!(said.contains("error: ") && said.contains(&line), "{said}");
    let status = Command::new(env!("CARGO_BIN_EXE_flexnode-firstboot"));
    let mut status = status;
    let status = status.args(["status", "--json", "--root"]).arg(lab.root.path()).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(
        (&status["joined"], &status["steps"][0]["phase"], &status["steps"][1]["phase"]),
        (&false.into(), &"done".into(), &"failed".into())
    );
    assert!(status["steps"][1]["hint"].as_str().unwrap().contains(&line));
}

#[test]
fn an_assignment_that_somebody_else_made_is_enough() {
    let mut answers = azure();
    let assigned = format!(
        r#"{{"value":[{{"properties":{{"principalId":"{PRINCIPAL}","scope":"{}","roleDefinitionId":"/x/4abbcc35-e782-43d8-92c5-2d3f1bd2253f"}}}}]}}"#,
        cluster()
    );
    answers.insert(0, ("roleAssignments?", 200, assigned));
    let lab = Lab::new(answers);
    let (_, said) = lab.run();
    assert!(said.contains("assigning roles: done"), "{said}");
}
