//! A step on a device that runs kernels: how often the host waits for it, copies to it and asks it for memory.
//!
//! A test binary of its own: every test of one process shares the emulated device, whose counts are looked at here.

use std::sync::{Mutex, MutexGuard, PoisonError};

use data::Batch;
use device::Device;
use device::launch::{Exchanges, Executor, GraphStats};
use serde_json::{Value, json};
use tunesmith::config::{Config, Overrides};
use tunesmith::run::base_model::{BaseModel, RowSettings};
use tunesmith::run::plan::DryStep;
use tunesmith::run::purpose::Purpose;
use tunesmith::run::rows::Rows;
use tunesmith::run::steps::Steps;
use tunesmith_tests::Workspace;

/// The emulated device, for one test at a time.
fn emulated() -> (Executor, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    (Executor::for_device(Device::Emulated).expect("the tests are built with the emulator"), turn)
}

/// A run of `settings` on the tiny Llama, its base on the emulated device, and the micro-batches of its first steps.
fn run(workspace: &Workspace, settings: &str, steps: u64) -> (Config, BaseModel, Vec<Vec<Batch>>) {
    let (config, mut base, rows) = open(workspace, settings);
    let batches = (1..=steps).map(|step| rows.micro_batches(step).unwrap()).collect();
    base.place(config.model.storage(), Device::Emulated).unwrap();
    (config, base, batches)
}

/// A run of `settings` on the tiny Llama, its base not loaded, and its rows. The settings are those of `[training]`, then tables,
/// `[data]` last.
fn open(workspace: &Workspace, settings: &str) -> (Config, BaseModel, Rows) {
    let path = |name: &str| workspace.path(name).display().to_string();
    let (settings, of_data) = settings.split_once("[data]\n").unwrap_or((settings, ""));
    let text = format!(
        "[model]\npath = '{}'\n[training]\noutput_dir = '{}'\nlearning_rate = 1e-2\n{settings}\n\
         [data]\ntrain = '{}'\nshuffle = false\n{of_data}",
        path("model"),
        path("out"),
        path("train.jsonl")
    );
    let config = Config::parse("run.toml", &text, &Overrides::default()).unwrap();
    let base =
        BaseModel::open(&config.model.path, config.model.dtype.dtype(), Purpose::of_config(&config).unwrap()).unwrap();
    let row_settings =
        RowSettings { max_length: 64, completion_only_loss: false, num_virtual_tokens: 0, adapters: &[], cache: None };
    let rows = Rows::new(base.feed(&config.data.train, None, None, row_settings, true).unwrap(), &config).unwrap();
    (config, base, rows)
}

/// Rows of token ids that differ from row to row, each as long as the next of `lengths`.
fn rows(lengths: &[usize]) -> impl Iterator<Item = Value> {
    let ids = |row: usize, length: usize| (0..length).map(|i| 2 + (row * 11 + i * i * 5) % 62).collect::<Vec<_>>();
    lengths.iter().enumerate().map(move |(row, &length)| json!({ "input_ids": ids(row, length) }))
}

const LORA: &str = "per_device_train_batch_size = 4\ngradient_accumulation_steps = 2\n\
                    [adapter]\nr = 4\ntarget_modules = 'all-linear'\nlora_dropout = 0.1\nbias = 'all'";

#[test]
fn from_the_second_step_on_nothing_is_waited_for_or_allocated() {
    let (executor, _turn) = emulated();
    let workspace = Workspace::new(8);
    let (config, base, batches) = run(&workspace, LORA, 1);
    let mut steps = Steps::new(&config, &base).unwrap();
    let mut losses = Vec::new();
    for step in 0..4 {
        let (before, blocks) = (executor.exchanges(), executor.pool_stats().blocks_allocated);
        // Every step the same rows, so that shapes repeat.
        let of_step = steps.take(&batches[0]).unwrap();
        let Exchanges { waits, uploads } = executor.exchanges();
        assert_eq!(waits, before.waits, "step {step}");
        if step > 0 {
            assert_eq!(executor.pool_stats().blocks_allocated, blocks, "step {step}");
            // Where each micro-batch's backward starts from; its rows have not changed.
            assert_eq!(uploads - before.uploads, 2, "step {step}");
        }
        losses.push(steps.loss(&of_step).unwrap());
        assert_eq!(executor.exchanges().waits, before.waits + 1, "one wait, for all that is told of a step");
    }
    assert!(losses.windows(2).all(|pair| pair[1] < pair[0]), "{losses:?}");
}

#[test]
fn a_batch_is_copied_once_for_all_layers() {
    let (executor, _turn) = emulated();
    let workspace = Workspace::new(24);
    let (config, base, batches) = run(&workspace, LORA, 3);
    let mut steps = Steps::new(&config, &base).unwrap();
    for batches in &batches {
        let before = executor.exchanges().uploads;
        steps.take(batches).unwrap();
        let uploads = executor.exchanges().uploads - before;
        // Ids, positions, three cuttings into tiles, labels, rows that have one, ones to sum a bias with, and where backward
        // starts from. The model has two layers of seven projections.
        assert!(uploads <= 9 * batches.len() as u64 + 2, "{uploads} for {} micro-batches", batches.len());
    }
}

/// The loss of every step and the parameters after the last one.
type Trained = (Vec<f32>, Vec<f32>);

/// What eight steps train, and what graphs did in the last four.
fn trained(executor: &Executor, workspace: &Workspace, settings: &str) -> (Trained, GraphStats) {
    let (config, base, batches) = run(workspace, settings, 8);
    let mut taken = Steps::new(&config, &base).unwrap();
    let (mut losses, mut before) = (Vec::new(), GraphStats::default());
    for (step, batches) in batches.iter().enumerate() {
        if step == 4 {
            before = executor.graph_stats();
        }
        let of_step = taken.take(batches).unwrap();
        losses.push(taken.loss(&of_step).unwrap());
    }
    let after = executor.graph_stats();
    let stats = GraphStats {
        made: after.made - before.made,
        started: after.started - before.started,
        nodes: after.nodes - before.nodes,
        updated: after.updated - before.updated,
    };
    ((losses, taken.method().parameters().to_host().unwrap()), stats)
}

/// Two lengths of rows take turns, so that shapes come again with other tokens; masks of dropout and the number of the step
/// change every time.
#[test]
fn graphs_give_the_bits_of_single_launches() {
    let (executor, _turn) = emulated();
    let workspace = Workspace::new(0);
    let lengths: Vec<usize> = (0..64).map(|row| if row / 8 % 2 == 0 { 9 } else { 14 }).collect();
    workspace.write_rows("train.jsonl", rows(&lengths));
    let [(expected, none), (got, graphs)] = ["false", "true"].map(|cuda_graphs| {
        let settings = format!("cuda_graphs = {cuda_graphs}\n{LORA}");
        trained(&executor, &workspace, &settings)
    });
    assert_eq!(none, GraphStats::default());
    // Each shape was started one by one, made a graph of, and started as that twice; what has changed was set.
    assert!(graphs.made == 0 && graphs.started >= 4 && graphs.updated > 0, "{graphs:?}");
    assert_eq!(got, expected);
}

/// Rows of many lengths, with a different number of labels each, padded to the same.
#[test]
fn padded_rows_come_again_as_graphs_and_learn_the_same() {
    let (executor, _turn) = emulated();
    let workspace = Workspace::new(0);
    let lengths: Vec<usize> = (0..64).map(|row| 9 + row * 5 % 8).collect();
    workspace.write_rows("train.jsonl", rows(&lengths));
    let settings = "per_device_train_batch_size = 4\n[adapter]\nr = 4\ntarget_modules = 'all-linear'";
    let [(plain, _), (padded, graphs)] = ["", "pad_to_multiple_of = 16\n"]
        .map(|padding| trained(&executor, &workspace, &format!("{settings}\n[data]\n{padding}")));
    // The first step starts launches one by one, the second makes the graph of all that come.
    assert!(graphs.made == 0 && graphs.started >= 4, "{graphs:?}");
    // Zeros among the terms of a sum move where it is rounded; AdamW divides what differs by its own size.
    for (padded, plain) in padded.0.iter().zip(&plain.0) {
        assert!((padded - plain).abs() <= 1e-4 * plain, "{padded}, expected {plain}");
    }
}

/// The inputs of recomputed blocks go to the host and come back, for which the emulated device takes as long as it may.
#[test]
fn what_waits_on_the_host_changes_no_bit() {
    let (executor, _turn) = emulated();
    let workspace = Workspace::new(24);
    let trained = |offload: bool| {
        let settings = format!("gradient_checkpointing = true\nactivation_offload = {offload}\n{LORA}");
        let (config, base, batches) = run(&workspace, &settings, 3);
        let mut steps = Steps::new(&config, &base).unwrap();
        let before = executor.exchanges().waits;
        batches.iter().for_each(|batches| drop(steps.take(batches).unwrap()));
        assert_eq!(executor.exchanges().waits, before);
        steps.method().parameters().to_host().unwrap()
    };
    assert_eq!(trained(true), trained(false));
}

/// Every method, and what else decides how much memory a step takes.
const PLANNED: [&str; 18] = [
    "[adapter]\ntarget_modules = 'all-linear'\nlora_dropout = 0.1",
    "gradient_checkpointing = true\n[adapter]\ntarget_modules = 'all-linear'",
    "gradient_checkpointing = true\nactivation_offload = true\n[adapter]\nmethod = 'qlora'\nr = 64",
    "gradient_accumulation_steps = 2\n[adapter]\nmethod = 'qlora'\ntarget_modules = 'all-linear'",
    "optim = 'adamw_8bit'\n[adapter]\nr = 128",
    "gradient_checkpointing = true\n[adapter]\nuse_dora = true",
    "[adapter]\ninit_lora_weights = 'pissa'",
    "[adapter]\nmodules_to_save = ['lm_head', 'norm']\nbias = 'all'",
    "max_steps = 10\n[adapter]\nmethod = 'adalora'",
    "[adapter]\nmethod = 'vera'",
    "gradient_checkpointing = true\nactivation_offload = true\n[adapter]\nmethod = 'ia3'",
    "[adapter]\nmethod = 'ln_tuning'",
    "[adapter]\nmethod = 'trainable_tokens'\ntoken_indices = [3, 5]",
    "gradient_checkpointing = true\n[adapter]\nmethod = 'bottleneck'",
    "[adapter]\nmethod = 'prompt_tuning'\nnum_virtual_tokens = 4",
    "gradient_checkpointing = true\n[adapter]\nmethod = 'prefix_tuning'\nprefix_projection = true\nnum_virtual_tokens = 4",
    "[adapter]\nmethod = 'p_tuning'\nnum_virtual_tokens = 4",
    "[adapter]\nmethod = 'full'",
];

#[test]
fn memory_is_planned_for_every_method_and_option() {
    let (executor, _turn) = emulated();
    let workspace = Workspace::new(0);
    // Of one length: the largest step, which is planned, is every step.
    workspace.write_rows("train.jsonl", rows(&[20; 8]));
    for settings in PLANNED {
        let (config, mut base, rows) = open(&workspace, &format!("per_device_train_batch_size = 4\n{settings}"));
        let planned = DryStep::take(&config, &mut base, &rows, executor.architecture()).unwrap().memory;
        // What earlier steps left for these.
        (0..4).for_each(|_| executor.advance());
        executor.trim().unwrap();
        executor.reset_peaks();
        let before = executor.pool_stats().live_bytes;
        base.place(config.model.storage(), Device::Emulated).unwrap();
        let page_locked = executor.peak_page_locked_bytes();
        executor.reset_peaks();
        let mut steps = Steps::new(&config, &base).unwrap();
        for step in 1..3 {
            steps.take(&rows.micro_batches(step).unwrap()).unwrap();
        }
        let peak = executor.pool_stats().peak_live_bytes - before;
        let page_locked = page_locked.max(executor.peak_page_locked_bytes());
        for (what, planned, taken) in
            [("device", planned.allocated(), peak), ("page-locked", planned.page_locked, page_locked)]
        {
            let ratio = planned as f64 / taken as f64;
            assert!((ratio - 1.0).abs() <= 0.1, "{settings}: {planned} bytes of {what} memory planned, {taken} taken");
        }
    }
}

/// Where shapes repeat, what a step computes lies where it lay before: nodes that read what changes are all that is set anew.
#[test]
fn few_nodes_of_a_graph_change() {
    let (executor, _turn) = emulated();
    let workspace = Workspace::new(0);
    workspace.write_rows("train.jsonl", rows(&[10; 48]));
    let settings = "per_device_train_batch_size = 4\n[adapter]\nr = 4\ntarget_modules = 'all-linear'";
    let GraphStats { nodes, updated, .. } = trained(&executor, &workspace, settings).1;
    // In each of four steps the gathering of embeddings, what reads labels, the update with its number: of hundreds.
    assert!(nodes >= 4 * 100 && updated <= 4 * 8, "{updated} of {nodes} nodes");
}
