//! Events in DynamoDB.

use std::path::Path;

use eventsrc_dynamo::Dynamo;
use eventsrc_dynamo::aws_sdk_dynamodb::Client;
use eventsrc_dynamo::aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use eventsrc_examples::identity::InDynamo;
use eventsrc_test_servers as servers;
use eventsrc_tests::dynamo::config;
use tokio::process::Command;

use super::http::processes::Setting;
use super::program::a_second_run_continues;

/// Tables of one test. The program creates them.
pub(super) struct Location {
    endpoint: String,
    access_key: String,
}

/// A secret that no output may contain.
const SECRET: &str = "geheim";

impl Location {
    pub(super) async fn new(name: &str) -> Self {
        let server = servers::dynamo().await;
        Self { endpoint: server.endpoint(), access_key: server.access_key(name) }
    }

    fn client(&self) -> Client {
        Client::from_conf(config(&self.endpoint, &self.access_key).build())
    }

    /// The same tables, for this process.
    pub(super) fn storages(&self) -> InDynamo {
        InDynamo::new(&Dynamo::new(self.client(), "identity"))
    }

    /// The settings by which the program finds them.
    pub(super) fn setting(&self) -> Setting {
        let arguments = ["--storage", "dynamo", "--endpoint", &self.endpoint].map(str::to_owned);
        let environment = [
            ("AWS_ACCESS_KEY_ID", self.access_key.as_str()),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            // The user who runs the tests may have a configuration file.
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ];
        let environment = environment.map(|(name, value)| (name, value.to_owned()));
        Setting { arguments: arguments.into(), environment: environment.into() }
    }
}

/// The standard output and the error output of the program, and its success.
async fn identity(setting: &Setting, db: &Path, arguments: &[&str]) -> (String, String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
    command.envs(setting.environment.iter().cloned());
    command.args(&setting.arguments).arg("--db").arg(db).args(arguments).kill_on_drop(true);
    let output = command.output().await.unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(!out.contains(SECRET) && !err.contains(SECRET), "{out}{err}");
    (out, err, output.status.success())
}

#[tokio::test]
async fn a_second_run_continues_from_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let (place, db) = (Location::new("identity").await, folder.path().join("made/by the story/view.db"));
    let setting = place.setting();
    let (_, err, success) = identity(&setting, &db, &["show", "user", "ada"]).await;
    assert_eq!((err.as_str(), success), ("error: there is no table identity\n", false));
    a_second_run_continues(async |arguments| identity(&setting, &db, arguments).await).await;

    // The endpoint is in the SDK's own configuration, and the view starts empty.
    let mut setting = place.setting();
    setting.arguments.truncate(2);
    setting.environment.push(("AWS_ENDPOINT_URL_DYNAMODB", place.endpoint));
    let (third, err, success) = identity(&setting, &folder.path().join("anew.db"), &[]).await;
    assert!(success, "{err}");
    let members = third.lines().find(|line| line.contains("who is in readers")).unwrap();
    assert!(members.ends_with("  ada, ada-2, ada-3"), "{members}");
}

#[tokio::test]
async fn missing_sdk_settings_are_reported_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let (place, db) = (Location::new("identity").await, folder.path().join("view.db"));
    let without = |names: &[&str]| {
        let mut setting = place.setting();
        setting.environment.retain(|(name, _)| !names.contains(name));
        setting
    };
    let (_, err, success) = identity(&without(&["AWS_REGION"]), &db, &[]).await;
    assert!(!success && err.starts_with("error: no AWS region is set; set AWS_REGION"), "{err}");
    for missing in [&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"][..], &["AWS_SECRET_ACCESS_KEY"]] {
        let (_, err, success) = identity(&without(missing), &db, &[]).await;
        assert!(
            !success && err.starts_with("error: there are no AWS credentials; set AWS_ACCESS_KEY_ID"),
            "{err}"
        );
        assert!(!err.contains(&place.access_key), "{err}");
    }
    assert!(!db.exists());
}

#[tokio::test]
async fn wrong_tables_are_reported_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let (place, db) = (Location::new("identity").await, folder.path().join("view.db"));
    let setting = place.setting();
    let on = async |arguments: &[&str]| identity(&setting, &db, arguments).await;

    let at = async |endpoint: &str| {
        let setting = Setting { arguments: vec!["--storage".into(), "dynamo".into()], ..place.setting() };
        identity(&setting, &db, &["--endpoint", endpoint]).await
    };
    let (_, err, success) = at("http://127.0.0.1:1").await;
    assert!(!success && err.starts_with("error: cannot describe the table identity\n"), "{err}");
    assert!(err.contains("refused"), "{err}");
    for endpoint in ["127.0.0.1:1", "ftp://127.0.0.1", "http://", &format!("http://ada:{SECRET}@127.0.0.1")] {
        let (_, err, success) = at(endpoint).await;
        assert!(!success && err.starts_with("error: --endpoint must be a URL without a user"), "{err}");
    }

    let foreign = place.client().create_table().table_name("names").billing_mode(BillingMode::PayPerRequest);
    let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash);
    let foreign = foreign.attribute_definitions(id.build().unwrap()).key_schema(key.build().unwrap());
    foreign.send().await.unwrap();
    let (_, err, success) = on(&["--table", "names"]).await;
    let expected = "error: the table names has the key id (S), and not k (S), n (N)\n";
    assert_eq!((err.as_str(), success), (expected, false));
    let (_, err, success) = on(&["--table", "no name"]).await;
    assert!(
        !success && err.starts_with("error: cannot describe the table no name: ValidationException\n"),
        "{err}"
    );
    assert!(!db.exists());

    let sqlite = Setting { arguments: Vec::new(), ..place.setting() };
    assert!(identity(&sqlite, &db, &[]).await.2);
    let (_, err, success) = on(&[]).await;
    assert!(
        !success && err.ends_with("view.db contains events of its own; choose another file with --db\n"),
        "{err}"
    );
}
