/* Separate a WAV of any length with a .tflite of kzoo and its card, as separate_tflite.py does.

   The library is the one in the wheel ai-edge-litert; of its functions those that are called here
   are declared here, as the wheel has no headers (LiteRT 2.3). A block and an overlap per source are
   in memory, however long the recording.

     DIR=$(python -c 'import ai_edge_litert as a; print(a.__path__[0])')
     cc -O2 -o separate_tflite separate_tflite.c "$DIR/libLiteRt.so" -lm -Wl,-rpath,"$DIR"
     ./separate_tflite spleeter_2stems_fp32.tflite song.wav -o out

   options: --card FILE, --overlap-seconds S (default 1, at most a quarter block), --threads N */

#include "recording.h"

typedef int Status;
typedef void *Handle;
typedef struct {
  _Alignas(8) uint8_t bytes[256]; /* more than LiteRtRankedTensorType */
} TensorType;

Status LiteRtCreateEnvironment(int, const void *, Handle *);
Status LiteRtCreateModelFromFile(Handle, const char *, Handle *);
Status LiteRtCreateOptions(Handle *);
Status LiteRtSetOptionsHardwareAccelerators(Handle, int);
Status LiteRtCreateOpaqueOptions(const char *, void *, void (*)(void *), Handle *);
Status LiteRtAddOpaqueOptions(Handle, Handle);
Status LiteRtCreateCompiledModel(Handle, Handle, Handle, Handle *);
Status LiteRtGetNumModelSignatures(Handle, size_t *);
Status LiteRtGetModelSignature(Handle, size_t, Handle *);
Status LiteRtGetNumSignatureInputs(Handle, size_t *);
Status LiteRtGetNumSignatureOutputs(Handle, size_t *);
Status LiteRtGetSignatureOutputName(Handle, size_t, const char **);
Status LiteRtGetSignatureInputTensorByIndex(Handle, size_t, Handle *);
Status LiteRtGetSignatureOutputTensorByIndex(Handle, size_t, Handle *);
Status LiteRtGetRankedTensorType(Handle, TensorType *);
Status LiteRtGetCompiledModelInputBufferRequirements(Handle, size_t, size_t, Handle *);
Status LiteRtGetCompiledModelOutputBufferRequirements(Handle, size_t, size_t, Handle *);
Status LiteRtCreateManagedTensorBufferFromRequirements(Handle, const TensorType *, Handle, Handle *);
Status LiteRtGetTensorBufferPackedSize(Handle, size_t *);
Status LiteRtLockTensorBuffer(Handle, void **, int);
Status LiteRtUnlockTensorBuffer(Handle);
Status LiteRtRunCompiledModel(Handle, size_t, size_t, Handle *, size_t, Handle *);

enum { CPU = 1, READ = 0, WRITE = 1 };

typedef struct {
  Handle compiled, input, outputs[MOST_SOURCES];
  int sources, place[MOST_SOURCES]; /* of a source among the outputs */
  size_t bytes;                     /* of a block */
} Model;

static const char *model_path;

static void check(Status status, const char *what) {
  if (status) fail("%s: LiteRT cannot %s it (status %d)", model_path, what, status);
}

static void nothing(void *memory) { (void)memory; }

static Handle buffer(Handle environment, Handle tensor, Handle needs, size_t bytes) {
  TensorType type;
  Handle made;
  size_t size;
  check(LiteRtGetRankedTensorType(tensor, &type), "describe");
  check(LiteRtCreateManagedTensorBufferFromRequirements(environment, &type, needs, &made), "hold");
  check(LiteRtGetTensorBufferPackedSize(made, &size), "measure");
  if (size != bytes)
    fail("%s: its blocks have %zu bytes, its card says %zu", model_path, size, bytes);
  return made;
}

static Model load(const Card *card, size_t bytes, int threads) {
  Model model = {.sources = card->sources, .bytes = bytes};
  Handle environment, file, options, xnnpack, signature, tensor, needs;
  size_t signatures, inputs, outputs;
  static char settings[64];
  check(LiteRtCreateEnvironment(0, NULL, &environment), "start for");
  check(LiteRtCreateModelFromFile(environment, model_path, &file), "read");
  check(LiteRtGetNumModelSignatures(file, &signatures), "read");
  if (signatures != 1) fail("%s: has %zu signatures, not 1", model_path, signatures);
  check(LiteRtGetModelSignature(file, 0, &signature), "read");
  check(LiteRtGetNumSignatureInputs(signature, &inputs), "read");
  check(LiteRtGetNumSignatureOutputs(signature, &outputs), "read");
  if (inputs != 1 || outputs != (size_t)card->sources)
    fail("%s: has %zu inputs and %zu outputs, its card says 1 and %d", model_path, inputs, outputs,
         card->sources);
  check(LiteRtCreateOptions(&options), "start for");
  check(LiteRtSetOptionsHardwareAccelerators(options, CPU), "start for");
  snprintf(settings, sizeof settings, "num_threads = %d\n", threads);
  check(LiteRtCreateOpaqueOptions("xnnpack", settings, nothing, &xnnpack), "start for");
  check(LiteRtAddOpaqueOptions(options, xnnpack), "start for");
  check(LiteRtCreateCompiledModel(environment, file, options, &model.compiled), "compile");
  check(LiteRtGetSignatureInputTensorByIndex(signature, 0, &tensor), "read");
  check(LiteRtGetCompiledModelInputBufferRequirements(model.compiled, 0, 0, &needs), "read");
  model.input = buffer(environment, tensor, needs, bytes);
  for (int i = 0; i < card->sources; i++) {
    const char *name;
    size_t k = (size_t)i;
    check(LiteRtGetSignatureOutputTensorByIndex(signature, k, &tensor), "read");
    check(LiteRtGetCompiledModelOutputBufferRequirements(model.compiled, 0, k, &needs), "read");
    model.outputs[i] = buffer(environment, tensor, needs, bytes);
    check(LiteRtGetSignatureOutputName(signature, k, &name), "read");
    int s = 0;
    while (s < card->sources && strcmp(card->names[s], name)) s++;
    if (s == card->sources) fail("%s: gives %s, which its card does not name", model_path, name);
    model.place[s] = i;
  }
  return model;
}

static void separate(void *data, const float *waveform, long long samples, float **stems) {
  Model *model = data;
  void *memory;
  (void)samples; /* always those of a block */
  check(LiteRtLockTensorBuffer(model->input, &memory, WRITE), "fill");
  memcpy(memory, waveform, model->bytes);
  check(LiteRtUnlockTensorBuffer(model->input), "fill");
  check(LiteRtRunCompiledModel(model->compiled, 0, 1, &model->input, (size_t)model->sources,
                               model->outputs),
        "run");
  for (int s = 0; s < model->sources; s++) {
    Handle output = model->outputs[model->place[s]];
    check(LiteRtLockTensorBuffer(output, &memory, READ), "read from");
    memcpy(stems[s], memory, model->bytes);
    check(LiteRtUnlockTensorBuffer(output), "read from");
  }
}

/* A file that is cut off, or another one, has not the size that the card gives, or not this mark. */
static void check_file(const Card *card) {
  FILE *file = fopen(model_path, "rb");
  char mark[8] = {0};
  if (!file) fail("%s: is not there; the .tflite and its .json belong together", model_path);
  if (fread(mark, 1, 8, file) != 8 || memcmp(mark + 4, "TFL3", 4))
    fail("%s: is no TFLite file", model_path);
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  fclose(file);
  const char *name = strrchr(model_path, '/');
  long long bytes = number_of(value_of(card->text, name ? name + 1 : model_path), "bytes");
  if (!bytes) bytes = number_of(card->text, "bytes");
  if (size != bytes)
    fail("%s: has %ld bytes, its card says %lld: it is cut off, or another file", model_path, size,
         bytes);
}

int main(int count, char **words) {
  program = "separate_tflite";
  const char *out = option(&count, words, "-o", ".");
  const char *card_path = option(&count, words, "--card", NULL);
  const char *seconds = option(&count, words, "--overlap-seconds", NULL);
  int threads = (int)number("--threads", option(&count, words, "--threads", "1"), 1, 1024);
  if (count != 3)
    fail("usage: separate_tflite MODEL.tflite SONG.wav [-o OUT] [--card FILE] [--overlap-seconds S] "
         "[--threads N]");
  model_path = words[1];
  char beside[4096];
  snprintf(beside, sizeof beside, "%s", model_path);
  char *dot = strrchr(beside, '.');
  if (dot) strcpy(dot, ".json");
  if (!dot || strlen(model_path) + 1 > sizeof beside) fail("%s: is no .tflite", model_path);
  if (!card_path) card_path = beside;
  Card card = read_card(card_path);
  check_file(&card);
  long long block = number_of(card.text, "block_samples");
  if (!block) fail("%s: is the card of no block", card_path);
  long long overlap = card.sample_rate < block / 4 ? card.sample_rate : block / 4;
  if (value_of(card.text, "overlap_samples")) overlap = number_of(card.text, "overlap_samples");
  if (overlap > block / 2) fail("%s: its overlap is more than half a block", card_path);
  if (seconds) {
    double most = (double)block / 2 / card.sample_rate;
    overlap = (long long)rint(number("--overlap-seconds", seconds, 0, most) * card.sample_rate);
  }
  Recording wav = open_recording(words[2], &card);
  Model model = load(&card, sizeof(float) * (size_t)(block * card.channels), threads);
  double length = separate_recording(&wav, &card, out, block, overlap, separate, &model);
  printf("%s: %d stems, %.2f s of sound\n", out, card.sources, length);
  return 0;
}
