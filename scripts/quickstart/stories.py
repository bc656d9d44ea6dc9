"""A small grammar of English stories: the text that the quickstart model is trained on, and its task.

Everything the model ever reads is made here from the lists and sentence patterns below, so it may be shipped under the
project's own licence. `story` draws the facts of one story and tells them; `question` and `record` ask about them.
"""

NAMES = """Ada Alma Anton Arlo Bea Boris Bruno Cara Cleo Cyril Dana Dora Edda Egon Elio Elsa Emil Enno Erna Fanny Felix
Flora Fritz Gerda Gino Greta Hanna Hedda Hugo Ida Igor Ilsa Ines Iris Ivo Jana Jarl Jonas Juno Kara Karl Kira Lars Lena
Levin Lina Lotte Luca Mara Marek Milo Mina Nadia Nils Nora Odette Olaf Orla Oskar Paula Pavel Petra Quinn Ragna Rasmus
Rita Rosa Rufus Sanna Selma Silas Sven Tamara Theo Thora Tilda Tomas Ulla Umar Vera Viggo Wanda Wilma Xenia Yara Yusuf
Zelda Zeno""".split()
JOBS = """baker miller sailor teacher doctor painter farmer tailor weaver smith carpenter gardener fisher singer potter
clerk hunter shepherd barber cook printer mason glazier cooper""".split()
COLOURS = "red blue green yellow white black brown silver golden grey purple orange".split()
OBJECTS = """lantern basket kettle hammer ladder mirror bucket violin blanket compass candle bottle map broom clock
drum feather rope saddle trumpet umbrella whistle box book coin ring key bell cup chair""".split()
PLACES = """harbour market mill bridge forest tower garden station library church school castle farm lake square
bakery island valley cave meadow well inn workshop lighthouse""".split()
TIMES = "morning evening Monday Tuesday Wednesday Thursday Friday Saturday Sunday winter summer spring autumn".split()
WEATHER = ["It was raining.", "The sun was shining.", "A cold wind blew.", "Snow lay on the roofs.", "The sky was clear.",
           "Fog hung over the hills.", "It was a quiet day.", "The streets were empty.", "Birds were singing."]
MOODS = "happy tired proud worried hungry curious calm cheerful sleepy brave".split()
ENDINGS = ["Then {name} went home.", "In the end {name} was {mood}.", "{name} smiled and said nothing.",
           "After that {name} slept well.", "{name} never forgot that day.", "Later {name} told {friend} all about it."]

OPENINGS = ["{name} was a {job}.", "There once was a {job} called {name}.", "{name} worked as a {job}.",
            "The {job} of the village was {name}."]
ERRANDS = ["One {time} {name} carried a {colour} {object} to the {place}.",
           "One {time} {name} took a {colour} {object} to the {place}.",
           "On the way to the {place} {name} carried a {colour} {object}.",
           "{name} had to bring a {colour} {object} to the {place}."]
FRIENDS = ["{friend} was a {friend_job}.", "There {name} met {friend}, a {friend_job}.",
           "A {friend_job} called {friend} came along.", "{friend}, the {friend_job}, was {mood}."]
FRIEND_ERRANDS = ["{friend} had a {friend_colour} {friend_object}.",
                  "{friend} was looking for a {friend_colour} {friend_object}.",
                  "{friend} came from the {friend_place} with a {friend_colour} {friend_object}."]
QUESTIONS = [("Who carried the {object}?", "{name} did."), ("What did {name} carry?", "A {colour} {object}."),
             ("Where did {name} go?", "To the {place}."), ("What was {name}?", "A {job}."),
             ("What was {friend}?", "A {friend_job}."), ("What colour was the {object}?", "It was {colour}."),
             ("What did {friend} have?", "A {friend_colour} {friend_object}.")]


def facts(rng):
    """What is true in one story. The two people never share a job, an object, a colour or a place."""
    pair = lambda items: rng.sample(items, 2)
    (name, friend), (job, friend_job), (colour, friend_colour) = pair(NAMES), pair(JOBS), pair(COLOURS)
    (obj, friend_object), (place, friend_place) = pair(OBJECTS), pair(PLACES)
    return dict(name=name, friend=friend, job=job, friend_job=friend_job, colour=colour, friend_colour=friend_colour,
                object=obj, friend_object=friend_object, place=place, friend_place=friend_place,
                time=rng.choice(TIMES), mood=rng.choice(MOODS))


def story(rng, known):
    """Tells the facts in five to seven sentences."""
    lines = [rng.choice(OPENINGS), rng.choice(ERRANDS), rng.choice(FRIENDS), rng.choice(FRIEND_ERRANDS)]
    if rng.random() < 0.5:
        lines.insert(rng.choice([1, 2]), rng.choice(WEATHER))
    lines.append(rng.choice(ENDINGS))
    return " ".join(lines).format(**known)


def document(rng):
    """One text of the base model's diet: a story, and most often some questions with their answers."""
    known = facts(rng)
    text = story(rng, known)
    for question, answer in rng.sample(QUESTIONS, rng.choice([0, 1, 2, 3, 4])):
        text += "\n" + question.format(**known) + " " + answer.format(**known)
    return text


def record(known):
    """The answer to the quickstart task: a form that the base model has never seen."""
    return '{{"name": "{name}", "job": "{job}", "item": "{colour} {object}", "to": "{place}"}}'.format(**known)


def example(rng):
    """One row of the task: fill in the record of a story."""
    known = facts(rng)
    return {"prompt": story(rng, known) + "\nRecord:", "completion": " " + record(known)}
