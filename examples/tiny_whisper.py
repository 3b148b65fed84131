"""A 2 MB Whisper that needs no network, to try the speech example: the real architecture, with weights that always say
the same.

Whatever it hears, it says `SAID` with these times, because the weights that choose the next token are set by hand, and
those that listen are random. A trained one, such as openai/whisper-tiny, is used by its name.
"""

from __future__ import annotations

from pathlib import Path

SAID = ((0.0, 4.0, "Good morning."), (4.0, 9.5, "The bread is in the oven."), (9.5, 15.0, "It rains."))
"""What it says of each window of 30 seconds: start and end in seconds, text."""

STEP = 0.02  # seconds between two of Whisper's timestamps


def make(folder: Path) -> str:
    """Save the model and its processor in a new folder; where it is."""
    import torch
    import transformers as hf
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokenizer = hf.WhisperTokenizer(
        vocab={letter: number for number, letter in enumerate(bytes_to_unicode().values())}, merges=[]
    )
    special = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|startofprev|>", "<|notimestamps|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.add_tokens([f"<|{number * STEP:.2f}|>" for number in range(1501)])
    end, start, english, transcribe, previous, no_times = tokenizer.convert_tokens_to_ids(["<|endoftext|>", *special])

    hf.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    ends = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    layers = {
        f"{part}_{what}": number
        for part in ("encoder", "decoder")
        for what, number in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 128))
    }
    model = hf.WhisperForConditionalGeneration(
        hf.WhisperConfig(vocab_size=len(tokenizer), d_model=64, max_target_positions=128, **layers, **ends)
    )
    model.generation_config = hf.GenerationConfig(
        **ends, max_length=128, no_timestamps_token_id=no_times, prev_sot_token_id=previous, is_multilingual=True,
        lang_to_id={"<|en|>": english}, task_to_id={"transcribe": transcribe}, task="transcribe",
    )  # fmt: skip

    script = "".join(f"<|{begin:.2f}|> {text}<|{stop:.2f}|>" for begin, stop, text in SAID)
    following = [english, transcribe, *tokenizer(script, add_special_tokens=False).input_ids]
    decoder = model.model.decoder
    with torch.no_grad():
        decoder.embed_tokens.weight.normal_()
        # each place of the text asks for the token that follows it
        decoder.embed_positions.weight.copy_(20 * decoder.embed_tokens.weight[end])
        decoder.embed_positions.weight[: len(following)] = 20 * decoder.embed_tokens.weight[following]
    model.save_pretrained(folder)
    hf.WhisperProcessor(hf.WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    return str(folder)
