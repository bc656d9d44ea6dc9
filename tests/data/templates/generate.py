#!/usr/bin/env python3
"""Renders the templates of this directory with transformers and writes cases.json.

    pip install transformers jinja2
    python tests/data/templates/generate.py
"""

import json
from pathlib import Path

import transformers
from transformers.utils.chat_template_utils import render_jinja_template

HERE = Path(__file__).parent
SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city <now>, in °C & more",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def system(content):
    return {"role": "system", "content": content}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


CONVERSATIONS = {
    "question": [user("What is 2 + 2?")],
    "single": [user("  What is 2 + 2?\n"), assistant(" Four. ")],
    "system": [system("Be brief."), user("Hi"), assistant("Hello!")],
    "multi": [user("Hi"), assistant("Hello!"), user("Où est <le> café? ☕"), assistant("Là-bas,\n\n  à droite & \"ici\"")],
    "open": [system("Be brief."), user("Hi"), assistant("Hello!"), user("Bye")],
    "thinking": [
        user("2 + 2?"),
        assistant("<think>\nadd\n</think>\n\nFour"),
        user("3 + 3?"),
        assistant("<think>\nadd again\n</think>\n\nSix"),
    ],
    "twice": [user("a"), user("b"), assistant("c")],
    "tool": [
        user("Weather in Zürich?"),
        assistant(None, tool_calls=[{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 1.0}}}]),
        {"role": "tool", "content": "{\"temp\": 21}"},
        assistant("21 °C"),
    ],
}


def render(template, messages, tools, add_generation_prompt):
    # apply_chat_template drops keys without a value before it renders.
    messages = [{k: v for k, v in m.items() if v is not None} for m in messages]
    marks = "{%- generation -%}" in template
    rendered, spans = render_jinja_template(
        conversations=[messages],
        tools=tools,
        chat_template=template,
        return_assistant_tokens_mask=marks,
        add_generation_prompt=add_generation_prompt,
        **SPECIAL_TOKENS,
    )
    result = {"rendered": rendered[0]}
    if marks:
        result["spans"] = [list(span) for span in spans[0]]
    return result


def main():
    cases = []
    for path in sorted(HERE.glob("*.jinja")):
        template = path.read_text(encoding="utf-8")
        for name, messages in CONVERSATIONS.items():
            for add_generation_prompt in (False, True):
                tools = [WEATHER] if name == "tool" else None
                case = {
                    "template": path.name,
                    "conversation": name,
                    "messages": messages,
                    "tools": tools,
                    "add_generation_prompt": add_generation_prompt,
                }
                try:
                    case.update(render(template, messages, tools, add_generation_prompt))
                except Exception as error:  # whatever the template does to its reader
                    case["error"] = str(error)
                cases.append(case)
    document = {"transformers": transformers.__version__, "special_tokens": SPECIAL_TOKENS, "cases": cases}
    text = json.dumps(document, ensure_ascii=False, indent=1)
    (HERE / "cases.json").write_text(text + "\n", encoding="utf-8")
    print(f"{len(cases)} cases, {sum('error' in case for case in cases)} of them errors")


if __name__ == "__main__":
    main()
