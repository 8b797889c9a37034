"""Instruments of General MIDI: their names, the stem of each, and those that stand in for it."""

from __future__ import annotations

DRUM_CHANNEL = 9  # the tenth, counted from one
DRUMS = "drums"
# General MIDI's families of eight by Slakh2100's names; the ensembles, choirs among them, are
# strings, as there.
STEMS = (
    "piano", "chromatic_percussion", "organ", "guitar", "bass", "strings", "strings", "brass",
    "reed", "pipe", "synth_lead", "synth_pad", "synth_effects", "ethnic", "percussive",
    "sound_effects",
)  # fmt: skip
NAMES = (
    "acoustic_grand_piano", "bright_acoustic_piano", "electric_grand_piano", "honky_tonk_piano",
    "electric_piano_1", "electric_piano_2", "harpsichord", "clavinet",
    "celesta", "glockenspiel", "music_box", "vibraphone",
    "marimba", "xylophone", "tubular_bells", "dulcimer",
    "drawbar_organ", "percussive_organ", "rock_organ", "church_organ",
    "reed_organ", "accordion", "harmonica", "tango_accordion",
    "acoustic_guitar_nylon", "acoustic_guitar_steel", "electric_guitar_jazz",
    "electric_guitar_clean", "electric_guitar_muted", "overdriven_guitar", "distortion_guitar",
    "guitar_harmonics",
    "acoustic_bass", "electric_bass_finger", "electric_bass_pick", "fretless_bass",
    "slap_bass_1", "slap_bass_2", "synth_bass_1", "synth_bass_2",
    "violin", "viola", "cello", "contrabass",
    "tremolo_strings", "pizzicato_strings", "orchestral_harp", "timpani",
    "string_ensemble_1", "string_ensemble_2", "synth_strings_1", "synth_strings_2",
    "choir_aahs", "voice_oohs", "synth_voice", "orchestra_hit",
    "trumpet", "trombone", "tuba", "muted_trumpet",
    "french_horn", "brass_section", "synth_brass_1", "synth_brass_2",
    "soprano_sax", "alto_sax", "tenor_sax", "baritone_sax",
    "oboe", "english_horn", "bassoon", "clarinet",
    "piccolo", "flute", "recorder", "pan_flute",
    "blown_bottle", "shakuhachi", "whistle", "ocarina",
    "lead_square", "lead_sawtooth", "lead_calliope", "lead_chiff",
    "lead_charang", "lead_voice", "lead_fifths", "lead_bass",
    "pad_new_age", "pad_warm", "pad_polysynth", "pad_choir",
    "pad_bowed", "pad_metallic", "pad_halo", "pad_sweep",
    "fx_rain", "fx_soundtrack", "fx_crystal", "fx_atmosphere",
    "fx_brightness", "fx_goblins", "fx_echoes", "fx_sci_fi",
    "sitar", "banjo", "shamisen", "koto",
    "kalimba", "bagpipe", "fiddle", "shanai",
    "tinkle_bell", "agogo", "steel_drums", "woodblock",
    "taiko_drum", "melodic_tom", "synth_drum", "reverse_cymbal",
    "guitar_fret_noise", "breath_noise", "seashore", "bird_tweet",
    "telephone_ring", "helicopter", "applause", "gunshot",
)  # fmt: skip
# Programs that play the same part as well: of one stem, one way of playing and one register.
_ALIKE = (
    (0, 1, 2, 3), (4, 5), (6, 7), (8, 9, 10), (11, 12, 13), (16, 17, 18), (20, 21, 22, 23),
    (24, 25), (26, 27, 28), (29, 30), (32, 33, 34, 35), (36, 37), (38, 39), (40, 41, 42),
    (48, 49, 50, 51), (52, 53, 54), (56, 59), (61, 62, 63), (64, 65, 66, 67), (68, 71),
    (72, 73, 74, 75), (76, 77, 78, 79), (80, 81, 82, 83, 84, 85), tuple(range(88, 96)),
    (104, 105, 106, 107),
)  # fmt: skip
_KITS = {0: "standard", 8: "room", 16: "power", 24: "electronic", 25: "tr808", 32: "jazz",
         40: "brush"}  # fmt: skip
# Without a pitch of their own, with a second one beside it, or heard octaves from their number: the
# glockenspiel, organs with a stop of 16 feet, the whistle.
_UNPITCHED = {9, 16, 17, 18, 31, 47, 55, 78, 86, *range(96, 104), *range(112, 128)}


def stem_of(channel: int, program: int) -> str:
    """The stem that a program of a channel is a part of."""
    return DRUMS if channel == DRUM_CHANNEL else STEMS[program // 8]


def name_of(channel: int, program: int) -> str:
    """Say what plays, such as "electric_bass_finger", or "standard_drums"."""
    if channel == DRUM_CHANNEL:
        return f"{_KITS.get(program, f'kit_{program}')}_drums"
    return NAMES[program]


def alike(channel: int, program: int) -> tuple[int, ...]:
    """The programs that may play the part of this one, itself among them."""
    groups = (tuple(_KITS),) if channel == DRUM_CHANNEL else _ALIKE
    return next((group for group in groups if program in group), (program,))


def is_pitched(channel: int, program: int) -> bool:
    """Whether a note of the program has one pitch, that of its number."""
    return channel != DRUM_CHANNEL and program not in _UNPITCHED
