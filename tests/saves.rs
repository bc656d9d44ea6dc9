//! Saves that fail at any single operation: by an error, by the end of the process, by the loss of power. Afterwards the
//! old or the new state is there, never a mix, and nothing is left over.

use std::io::ErrorKind;
use std::path::Path;

use checkpoint::faulty::{Fault, FaultyFs};
use checkpoint::{Fs, Manifest, Storage, remove_leftovers};
use peft::Method;
use tunesmith::config::{Config, Overrides};
use tunesmith::run::base_model::BaseModel;
use tunesmith::run::identity::Identity;
use tunesmith::run::optimizer::Optimizer;
use tunesmith::run::purpose::Purpose;
use tunesmith::run::record::RunRecord;
use tunesmith::run::save::{Snapshot, save_result};
use tunesmith::run::trainer_state::TrainerState;
use tunesmith::run::{checkpoints, method, training_state};
use tunesmith_tests::Workspace;

const FAULTS: [Fault; 4] =
    [Fault::Error(ErrorKind::StorageFull), Fault::Error(ErrorKind::Other), Fault::Crash, Fault::PowerLoss];

/// What a run has to save, whose parameters are all `value`.
struct Run {
    config: Config,
    method: std::sync::Arc<dyn Method>,
    optimizer: Optimizer,
}

impl Run {
    fn new(workspace: &Workspace) -> Self {
        let overrides = Overrides {
            model: Some(workspace.path("model")),
            data: Some(workspace.path("train.jsonl")),
            output: Some(workspace.path("out")),
            ..Overrides::default()
        };
        let config = Config::parse("", "", &overrides).unwrap();
        let base = BaseModel::open(&config.model.path, None, Purpose::causal_lm()).unwrap();
        let (method, _) = method::build(&config, &base).unwrap();
        let optimizer = Optimizer::new(method.parameters(), &config.training, base.task.base().modules()).unwrap();
        Self { config, method, optimizer }
    }

    fn set(&self, value: f32) {
        self.method.parameters().update(|flat| flat.fill(value)).unwrap();
    }

    fn state(&self, step: u64) -> TrainerState {
        TrainerState { global_step: step, ..TrainerState::new(&self.config, 10, 1.0) }
    }

    /// Saves `checkpoint-N` with N in every parameter.
    fn save(&self, step: u64, dir: &Path, fs: &dyn Fs) -> Result<(), tunesmith::Error> {
        self.set(step as f32);
        let record = RunRecord::new(Identity::new(&self.config, 10, String::new(), String::new()), 0);
        let (method, optimizer, state) = (self.method.as_ref(), &self.optimizer, &self.state(step));
        Snapshot { method, optimizer, state, record: &record }.save(dir, 1, fs)
    }

    /// What the newest whole checkpoint holds in every parameter.
    fn saved(&mut self, dir: &Path) -> (u64, f32) {
        let (found, manifest) = checkpoints::newest_whole(dir, |_| {}).unwrap().expect("one checkpoint is whole");
        let step = RunRecord::of(&found.path, &manifest).unwrap().step;
        assert_eq!(step, found.step);
        training_state::read(&found.path, self.method.as_ref(), &mut self.optimizer, step).unwrap();
        let values: Vec<f32> = self.method.parameters().tensors().flat_map(|tensor| tensor.to_vec()).collect();
        assert!(values.iter().all(|value| value.to_bits() == values[0].to_bits()), "a mix of two saves");
        (step, values[0])
    }
}

/// Runs `attempt` with a fault at operation 1, 2, 3, ... until the fault is no longer reached.
fn with_every_fault(mut attempt: impl FnMut(Fault, &FaultyFs)) -> u64 {
    let mut operations = 0;
    for fault in FAULTS {
        for at in 1.. {
            let fs = FaultyFs::new(fault, at);
            attempt(fault, &fs);
            if !fs.struck() {
                break;
            }
            operations += 1;
        }
    }
    operations
}

#[test]
fn a_checkpoint_is_the_old_or_the_new_one() {
    let workspace = Workspace::new(3);
    let mut run = Run::new(&workspace);
    let dir = workspace.path("out");
    let operations = with_every_fault(|fault, fs| {
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        run.save(1, &dir, &Storage).unwrap();
        let result = run.save(2, &dir, fs);
        if fault == Fault::PowerLoss {
            fs.lose_power().unwrap();
        }
        remove_leftovers(&Storage, &dir).unwrap();
        let (step, value) = run.saved(&dir);
        assert_eq!(value, step as f32);
        // A save that reports success has happened; pruning alone may fail after it.
        assert!(step == 2 || result.is_err(), "{fault:?}");
        let names = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(names.into_iter().all(|name| name.starts_with("checkpoint-")));
        // And the run can go on saving.
        run.save(3, &dir, &Storage).unwrap();
        assert_eq!(run.saved(&dir).0, 3);
        assert_eq!(checkpoints::find(&dir).unwrap().len(), 1);
    });
    // Each of the five files is created, written and synced, besides the directory's own operations.
    assert!(operations >= 4 * 15, "{operations}");
}

#[test]
fn a_checkpoint_may_be_saved_again_in_its_place() {
    let workspace = Workspace::new(3);
    let run = Run::new(&workspace);
    let dir = workspace.path("out");
    with_every_fault(|fault, fs| {
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        run.save(5, &dir, &Storage).unwrap();
        let _ = run.save(5, &dir, fs);
        if fault == Fault::PowerLoss {
            fs.lose_power().unwrap();
        }
        // The old one may be aside under a temporary name at the worst moment; whatever has the name is whole.
        let path = checkpoints::path_of(&dir, 5);
        assert!(!path.exists() || Manifest::verify(&path).is_ok(), "{fault:?}");
    });
}

#[test]
fn every_file_of_the_result_is_the_old_or_the_new_one() {
    let workspace = Workspace::new(3);
    let run = Run::new(&workspace);
    let dir = workspace.path("out");
    std::fs::create_dir(&dir).unwrap();
    let save = |value: f32, step: u64, fs: &dyn Fs| {
        run.set(value);
        let documents = [("README.md", format!("step {step}"))];
        save_result(run.method.as_ref(), &run.state(step), &documents, &dir, fs)
    };
    let read = || {
        ["adapter_model.safetensors", "adapter_config.json", "README.md", "trainer_state.json"]
            .map(|name| std::fs::read(dir.join(name)).unwrap())
    };
    save(2.0, 2, &Storage).unwrap();
    let new = read();
    save(1.0, 1, &Storage).unwrap();
    let old = read();
    with_every_fault(|fault, fs| {
        save(1.0, 1, &Storage).unwrap();
        let result = save(2.0, 2, fs);
        if fault == Fault::PowerLoss {
            fs.lose_power().unwrap();
        }
        remove_leftovers(&Storage, &dir).unwrap();
        let now = read();
        for ((now, old), new) in now.iter().zip(&old).zip(&new) {
            assert!(now == old || now == new, "{fault:?}");
        }
        // The trainer state comes last: where it is new, all is new.
        assert!(now[3] != new[3] || now == new, "{fault:?}");
        assert!(result.is_err() || now == new, "{fault:?}");
    });
}

#[test]
fn parameters_that_are_no_numbers_end_a_run_as_diverged() {
    let workspace = Workspace::new(3);
    let run = Run::new(&workspace);
    let dir = workspace.path("out");
    std::fs::create_dir(&dir).unwrap();
    run.save(1, &dir, &Storage).unwrap();
    run.set(f32::NAN);
    let error = save_result(run.method.as_ref(), &run.state(2), &[], &dir, &Storage).unwrap_err();
    assert!(matches!(error, tunesmith::Error::Diverged { step: 2, value, .. } if value.is_nan()), "{error}");
    assert_eq!(error.exit_code(), 6);
    assert!(error.to_string().contains("checkpoint-1 holds the last good state"), "{error}");
    assert!(!dir.join("adapter_model.safetensors").exists());
}
