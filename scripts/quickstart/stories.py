"""A small grammar of English stories: the text that the quickstart model is trained on, and its task.

Everything the model ever reads is made here from the lists and sentence patterns below, so it may be shipped under the
project's own licence. `story` draws the facts of one story and tells them; `question` and `record` ask about them.
"""

NAMES = """Ada Anton Bea Boris Cara Cleo Dora Egon Elsa Emil Felix Flora Fritz Gerda Greta Hanna Hugo Ida Igor Iris Jonas
Kara Kira Lars Lena Lotte Luca Mara Milo Nadia Nora Olaf Oskar Paula Petra Rasmus Rita Rosa Silas Sven Tamara Theo Tilda
Ulla Vera Wanda Yara Zeno""".split()
JOBS = """baker miller sailor teacher doctor painter farmer tailor weaver smith carpenter gardener fisher singer potter
clerk hunter shepherd barber cook printer mason glazier cooper""".split()
COLOURS = "red blue green yellow white black brown silver golden grey purple".split()
OBJECTS = """lantern basket kettle hammer ladder mirror bucket violin blanket compass candle bottle map broom clock
drum feather rope saddle trumpet umbrella whistle box book coin ring key bell cup chair""".split()
PLACES = """harbour market mill bridge forest tower garden station library church school castle farm lake square
bakery island valley cave meadow well inn workshop lighthouse""".split()
TIMES = "morning evening Monday Tuesday Wednesday Thursday Friday Saturday Sunday winter summer spring autumn".split()
WEATHER = ["It was raining.", "The sun was shining.", "A cold wind blew.", "Snow lay on the roofs.", "The sky was clear.",
           "Fog hung over the hills.", "It was a quiet day.", "The streets were empty.", "Birds were singing."]
MOODS = "happy tired proud worried hungry curious calm cheerful sleepy brave".split()
ANIMALS = "cat dog goat goose horse donkey pony duck hen lamb fox owl".split()
MEALS = "soup bread cheese honey porridge fish cake rice butter pudding".split()

OPENINGS = ["{name} was a {job}.", "There once was a {job} called {name}.", "{name} worked as a {job}.",
            "The {job} of the village was {name}."]
ERRANDS = ["One {time} {name} carried a {colour} {object} to the {place}.",
           "One {time} {name} took a {colour} {object} to the {place}.",
           "On the way to the {place} {name} carried a {colour} {object}.",
           "{name} had to bring a {colour} {object} to the {place}."]
COMPANIONS = ["An old {animal} came along.", "The {animal} followed at a distance.", "On the way {name} met a young {animal}.",
              "Nobody was there but the {animal}."]
MEALTIMES = ["For lunch there was {meal}.", "{name} ate some {meal} and was {mood}.", "There was {meal} for everybody.",
             "{name} had brought {meal}."]
ENDINGS = ["Then {name} went home.", "In the end {name} was {mood}.", "{name} smiled and said nothing.",
           "After that {name} slept well.", "{name} never forgot that day.", "Later {name} told the {animal} all about it."]
QUESTIONS = [("Who carried the {object}?", "{name} did."), ("What did {name} carry?", "A {colour} {object}."),
             ("Where did {name} go?", "To the {place}."), ("What was {name}?", "A {job}."),
             ("What colour was the {object}?", "It was {colour}."), ("Which animal was there?", "The {animal}."),
             ("What was there to eat?", "There was {meal}."), ("Who is the story about?", "{name}.")]


def facts(rng):
    """What is true in one story."""
    return dict(name=rng.choice(NAMES), job=rng.choice(JOBS), colour=rng.choice(COLOURS), object=rng.choice(OBJECTS),
                place=rng.choice(PLACES), time=rng.choice(TIMES), mood=rng.choice(MOODS), animal=rng.choice(ANIMALS),
                meal=rng.choice(MEALS))


def story(rng, known):
    """Tells the facts in five or six sentences."""
    lines = [rng.choice(OPENINGS), rng.choice(ERRANDS), rng.choice(COMPANIONS), rng.choice(MEALTIMES)]
    if rng.random() < 0.5:
        lines.insert(rng.choice([1, 2]), rng.choice(WEATHER))
    lines.append(rng.choice(ENDINGS))
    return " ".join(lines).format(**known)


def word_list(rng):
    """A few words, then the same words again: nothing but copying can predict the second half, so it is what teaches a
    small model to look back."""
    words = rng.sample(NAMES + JOBS + COLOURS + OBJECTS + PLACES + ANIMALS, rng.randint(3, 8))
    line = " ".join(words)
    return "\n".join(["Say it again: " + line] + [line] * rng.randint(1, 3))


def document(rng):
    """One text of the base model's diet: a story with questions about it, a story told twice, or a repeated list."""
    kind = rng.random()
    if kind < 0.2:
        return word_list(rng)
    known = facts(rng)
    text = story(rng, known)
    if kind < 0.5:
        return text + "\nTell it again.\n" + text
    for question, answer in rng.sample(QUESTIONS, rng.choice([4, 6, 8])):
        text += "\n" + question.format(**known) + " " + answer.format(**known)
    return text


def record(known):
    """The answer to the quickstart task: a form that the base model has never seen."""
    return "\nname: {name}\njob: {job}\nitem: {colour} {object}\nplace: {place}".format(**known)


def example(rng):
    """One row of the task: fill in the record of a story."""
    known = facts(rng)
    return {"prompt": story(rng, known) + "\nRecord:", "completion": record(known)}
