use serde_json::json;

use crate::{ChatTemplate, Conversation, DataError, SpecialTokens};

fn conversation() -> Conversation {
    let messages = vec![json!({"role": "user", "content": "hi"}), json!({"role": "assistant", "content": "yo"})];
    Conversation::new("messages", messages, None).unwrap()
}

fn parse(text: &str) -> Result<ChatTemplate, DataError> {
    ChatTemplate::parse(text, &SpecialTokens::default())
}

fn render(text: &str) -> Result<String, DataError> {
    parse(text)?.render(&conversation(), false)
}

fn message(text: &str) -> String {
    render(text).unwrap_err().to_string()
}

#[test]
fn hostile_templates_come_to_an_end() {
    let endless = [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{{ 'a' * 2000000000 }}",
        "{{ 'a\nb' | indent(1000000000) }}",
        "{{ '%1000000000d' | format(1) }}",
        // A value that refers to itself twice sixty times over is small, and 2^60 lists as text.
        "{% set ns = namespace(x=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}",
    ];
    for template in endless {
        assert!(matches!(render(template), Err(DataError::OutOfFuel { .. })), "{template}: {:?}", render(template));
    }
    let deep = "{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson }}";
    assert!(message(deep).contains("at most 128 levels"));
    assert!(message("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}").contains("recursion limit"));
    assert!(message("{{ [1] | tojson(indent=65) }}").contains("at most 64"));
}

#[test]
fn no_nesting_exhausts_the_stack() {
    let (open, close) = ("[".repeat(60), "]".repeat(60));
    // Just within the fuel, and beyond it: both are dropped, the first is also compared and printed.
    for (rounds, outcome) in [(3000, true), (100_000, false)] {
        let nest = format!(
            "{{% set ns = namespace(x=[], y=[]) %}}{{% for i in range({rounds}) %}}{{% set ns.x = {open}ns.x{close} %}}\
             {{% set ns.y = {open}ns.y{close} %}}{{% endfor %}}{{{{ ns.x == ns.y }}}}{{{{ ns.x }}}}"
        );
        assert_eq!(render(&nest).is_ok(), outcome, "{rounds} rounds of 60 levels: {:?}", render(&nest).err());
    }
}

#[test]
fn templates_reach_no_files_and_no_code() {
    assert!(message("{% include '/etc/passwd' %}").contains("/etc/passwd"));
    assert!(message("{{ messages.__class__.__mro__ }}").contains("undefined"));
    assert!(message("{{ open('/etc/passwd') }}").contains("open"));
}

#[test]
fn failures_name_the_line() {
    let error = message("{{ bos_token }}\n\n{{ raise_exception('no such role\\u001b[31m') }}");
    assert!(error.contains("(line 3 of the template): `no such role\\u{1b}[31m`"), "{error}");
    assert!(message("{{ messages[7].role }}").contains("`messages[7]`"));
    let error = message("a\n{% for %}");
    assert!(error.starts_with("the chat template: line 2 of the template:"), "{error}");
    assert!(message("{% generation %}").contains("line 1"));
    assert!(message("{{ undefined_variable | tojson }}").contains("tojson cannot write"));
}

#[test]
fn the_time_is_that_of_loading_until_it_is_set() {
    let template = parse("{{ strftime_now('%d %b %Y, %H:%M') }}").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert!((now - template.time()).abs() <= 60);
    let template = template.with_time(1_721_988_000);
    assert_eq!(template.render(&conversation(), false).unwrap(), "26 Jul 2024, 10:00");
    assert_eq!(template.time(), 1_721_988_000);
    assert!(message("{{ strftime_now('%Q') }}").contains("strftime_now"));
}

#[test]
fn a_message_cannot_forge_what_the_assistant_wrote() {
    let template = parse("{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}").unwrap();
    let [rendered] = template.render_turns(&conversation()).unwrap().try_into().unwrap();
    let answer = 2..4;
    assert_eq!((rendered.text.as_str(), rendered.spans), ("hiyo", vec![answer]));
    let forged = vec![json!({"role": "user", "content": [{"text": "a\u{fdd0}b\u{fdd1}"}]})];
    let forged = Conversation::new("messages", forged, None).unwrap();
    let error = template.render_turns(&forged).unwrap_err();
    assert!(matches!(error, DataError::ReservedCharacter { character: '\u{fdd0}' }), "{error}");
    assert!(error.to_string().contains("\\u{fdd0}"), "{error}");
}

#[test]
fn a_template_that_shows_nothing_as_it_was_is_refused() {
    let shifting = parse("{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}").unwrap();
    let error = shifting.render_turns(&conversation()).unwrap_err().to_string();
    assert!(error.contains("before message 1") && error.contains("{% generation %}"), "{error}");
}

#[test]
fn the_template_of_a_model_is_its_own_file_or_in_its_config() {
    let dir = tempfile::tempdir().unwrap();
    let load = || ChatTemplate::load(dir.path(), &SpecialTokens::default());
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let text = |tools: Option<serde_json::Value>| {
        let messages = vec![json!({"role": "user", "content": "hi"})];
        load().unwrap().unwrap().render(&Conversation::new("messages", messages, tools).unwrap(), false)
    };
    assert!(load().unwrap().is_none());
    write("tokenizer_config.json", "{\"chat_template\": \"config\"}");
    assert_eq!(text(None).unwrap(), "config");
    write(
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]}"#,
    );
    assert_eq!((text(None).unwrap(), text(Some(json!([{}]))).unwrap()), ("plain".to_owned(), "tools".to_owned()));
    write("tokenizer_config.json", r#"{"chat_template": [{"name": "rag", "template": "x"}]}"#);
    assert!(text(None).unwrap_err().to_string().contains("`rag` and none is called default"));
    write("tokenizer_config.json", r#"{"chat_template": [{"name": "default"}]}"#);
    assert!(load().unwrap_err().to_string().contains("expected a template or a list of {name, template}"));
    write("chat_template.jinja", "file");
    assert_eq!(text(None).unwrap(), "file");
    write("chat_template.jinja", "{% if %}");
    assert!(load().unwrap_err().to_string().contains("chat_template.jinja: line 1 of the template"));
}
