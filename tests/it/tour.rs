//! The tour of the README, typed as it stands there: each command ends and prints as its comment says.

use std::path::Path;
use std::process::{Command, Stdio};

use super::harness::{Exchange, liaison};

struct Step {
    command: String,
    exit: i32,
    prints: Vec<String>,
}

/// The fenced blocks that a `<!-- tour: … -->` stands before.
fn steps(readme: &str) -> Vec<Step> {
    let marked = readme.split("<!-- tour: ").skip(1);
    marked
        .map(|rest| {
            let (wanted, rest) = rest.split_once("-->").expect("the end of the comment");
            let block =
                rest.trim_start().strip_prefix("```console\n").expect("a block right behind its comment");
            let (block, _) = block.split_once("```").expect("the end of the block");
            let command = block.trim().strip_prefix("$ ").expect("a command behind $");
            assert!(!command.contains('\n'), "one command a block: {command}");
            let exit = wanted.trim_start().strip_prefix("exit ").expect("exit first");
            let exit = exit.split(|c: char| !c.is_ascii_digit()).next().and_then(|code| code.parse().ok());
            let prints = wanted.split('"').skip(1).step_by(2).map(str::to_owned).collect();
            Step { command: command.to_owned(), exit: exit.expect("an exit code"), prints }
        })
        .collect()
}

/// What a newcomer has in front of them: the examples, the data of `up`, and the program where the build puts it.
fn layout(place: &Path, data: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::create_dir_all(place.join("target/release")).expect("directories");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_liaison"), place.join("target/release/liaison"))
        .expect("a link");
    std::os::unix::fs::symlink(root.join("examples"), place.join("examples")).expect("a link");
    std::os::unix::fs::symlink(data, place.join("liaison-data")).expect("a link");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_of_the_readme_is_true() {
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("README.md");
    let steps = steps(&readme);
    assert!(steps.len() >= 6, "{} steps", steps.len());
    // As `./scripts/up` does it: the whole demo registry, the case plane closed.
    let exchange = Exchange::with(&[], |_| {}).await;
    let place = super::harness::folder();
    layout(place.path(), &exchange.data);
    let clean = liaison();
    for Step { command, exit, prints } in steps {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&command).current_dir(place.path()).stdin(Stdio::null());
        for (name, _) in clean.get_envs().filter(|(_, value)| value.is_none()) {
            shell.env_remove(name);
        }
        let output = shell.output().expect("sh runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(exit), "{command}\n{output:?}");
        for words in prints {
            assert!(text.contains(&words), "{command} does not print {words}: {text}");
        }
    }
}
