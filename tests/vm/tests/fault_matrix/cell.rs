//! One cell of the matrix: a fault that passes, and in another world one that stays.

use flexnode_vm::azure::{Emulator, Fault, Operation, Service, TlsFault, When, contoso};
use flexnode_vm::join::Site;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::expected::{Ends, if_it_passes, if_it_stays};
use crate::faults::Named;
use crate::machine::{self, HASTY, PATIENT, change_config, has_joined, run};
use crate::requests::{Request, Whose};

/// What goes wrong, and where.
pub(crate) enum Plan {
    Request(&'static Request, &'static Named),
    /// The next connections to a service.
    Connection(Service, TlsFault),
    /// A name that does not resolve, for as long as nobody does something about it.
    Name(Whose),
}

/// One cell of the matrix.
pub(crate) struct Cell {
    request: &'static str,
    fault: &'static str,
    plan: Plan,
}

impl Cell {
    pub(crate) fn new(request: &'static str, fault: &'static str, plan: Plan) -> Self {
        Self { request, fault, plan }
    }

    pub(crate) fn name(&self) -> String {
        format!("{} × {}", self.request, self.fault)
    }

    /// The exit codes of all its runs.
    pub(crate) fn run(&self) -> Result<Vec<i32>, String> {
        let passes = match self.plan {
            Plan::Name(_) => Vec::new(),
            _ => self.meet(Staying::Briefly).map_err(|why| format!("where it passes, {why}"))?,
        };
        let stays = self.meet(Staying::ForGood).map_err(|why| format!("where it stays, {why}"))?;
        Ok([passes, stays].concat())
    }

    fn meet(&self, staying: Staying) -> Result<Vec<i32>, String> {
        let dir = tempfile::tempdir().unwrap();
        let reads_assignments =
            matches!(self.plan, Plan::Request(Request { operation: Operation::RoleAssignmentRead, .. }, _));
        let world = contoso::world();
        let site = machine::site(dir.path(), if reads_assignments { world.app(machine::onboarder()) } else { world });
        if reads_assignments {
            run(&site, PATIENT, Ends::Fails(77, "az role assignment create"))?;
            machine::assign_by_somebody_else(&site);
            site.game.emulator.forget_requests();
        }
        self.spoil(&site, staying);
        let expected = match staying {
            Staying::Briefly => if_it_passes(self.request, self.fault),
            Staying::ForGood => if_it_stays(self.request, self.fault),
        };
        let pace = if staying == Staying::Briefly || expected == Ends::Joins { PATIENT } else { HASTY };
        let mut codes = vec![run(&site, pace, expected)?];
        if expected != Ends::Joins {
            self.cure(&site);
            codes.push(run(&site, PATIENT, Ends::Joins).map_err(|why| format!("after the cure {why}"))?);
        }
        has_joined(&site).map(|()| codes)
    }

    fn spoil(&self, site: &Site, staying: Staying) {
        let azure = &site.game.emulator;
        match &self.plan {
            Plan::Request(request, fault) => {
                let when = When::operation(request.operation);
                let when = match staying {
                    Staying::Briefly => when.nth(request.nth),
                    Staying::ForGood => when.from(request.nth),
                };
                azure.inject(when, fault.fault());
            }
            Plan::Connection(service, fault) => {
                let connections = if staying == Staying::Briefly { 1 } else { 10_000 };
                azure.inject_tls(*service, &vec![*fault; connections]);
            }
            Plan::Name(Whose::Arm) => change_config(site, azure.arm(), &nameless(azure.arm())),
            Plan::Name(Whose::Entra) => {
                let login = nameless(azure.entra());
                let body = serde_json::json!({"authentication": {"loginEndpoint": login, "audiences": ["https://arm.example"]}});
                azure.inject(When::operation(Operation::ArmMetadata), ok(&body));
            }
            Plan::Name(Whose::ApiServer) => {
                let body = serde_json::json!({"kubeconfigs": [{"name": "clusterUser", "value": BASE64.encode(kubeconfig(azure))}]});
                azure.inject(When::operation(Operation::ClusterUserCredential), ok(&body));
            }
        }
    }

    fn cure(&self, site: &Site) {
        site.game.emulator.behave();
        if matches!(self.plan, Plan::Name(Whose::Arm)) {
            let arm = site.game.emulator.arm();
            change_config(site, &nameless(arm), arm);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Staying {
    Briefly,
    ForGood,
}

fn ok(body: &serde_json::Value) -> Fault {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Fault::Answer { status: 200, headers, body: body.to_string() }
}

/// The same place under a name that the emulator's certificates have and no resolver knows.
fn nameless(url: &str) -> String {
    url.replace("127.0.0.1", "nowhere.flexnode-lab.test")
}

fn kubeconfig(azure: &Emulator) -> String {
    let (server, ca) = azure.api_server(&contoso::cluster_id()).unwrap();
    let (server, ca) = (nameless(&server), BASE64.encode(ca));
    format!("clusters: [{{name: edge, cluster: {{server: '{server}', certificate-authority-data: {ca}}}}}]")
}
