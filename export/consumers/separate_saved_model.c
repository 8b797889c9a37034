/* Separate a WAV with a SavedModel of kzoo through TensorFlow's C API.

   Headers and libraries are those in the wheel tensorflow. The recording goes in whole; with
   --block-seconds in blocks that fade into each other as in separate_tflite.py, for models of
   `kzoo export`, whose memory grows with the recording. Those of `export.tf_serving` need no such cut.

     DIR=$(python -c 'import importlib.util as u; print(u.find_spec("tensorflow").submodule_search_locations[0])')
     cc -O2 -o separate separate_saved_model.c -I"$DIR/include" "$DIR/libtensorflow_cc.so.2" \
        "$DIR/libtensorflow_framework.so.2" -lm -Wl,-rpath,"$DIR"
     ./separate models/unet_2stems_mobile/1 song.wav -o out

   -fuse-ld=gold links it in 4 s instead of 22.

   options: --block-seconds S, --threads N (default: all processors) */

#include <tensorflow/c/c_api.h>

#include "recording.h"

typedef struct {
  const uint8_t *at, *end;
} Message;

typedef struct {
  TF_Session *session;
  TF_Status *status;
  TF_Output inputs[2], outputs[MOST_SOURCES];
  int asked, sources, channels; /* asked: 2 of a model that is told how long the recording is */
} Model;

static const char *model_path;

static void check(TF_Status *status) {
  if (TF_GetCode(status) == TF_OK) return;
  char line[400];
  snprintf(line, sizeof line, "%s", TF_Message(status));
  for (char *at = line; *at; at++)
    if (*at == '\n') *at = ' ';
  fail("%s: %s", model_path, line);
}

/* ---- the signature, read from the MetaGraphDef by its field numbers ---- */

static uint64_t varint(Message *message) {
  uint64_t value = 0;
  for (int shift = 0; message->at < message->end && shift < 64; shift += 7) {
    uint8_t byte = *message->at++;
    value |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) break;
  }
  return value;
}

/* Step over the next field: its number, 0 at the end; `content` is that of a field with bytes. */
static int next_field(Message *message, Message *content) {
  if (message->at >= message->end) return 0;
  uint64_t tag = varint(message);
  uint64_t size = 0;
  switch (tag & 7) {
    case 0: varint(message); break;
    case 1: size = 8; break;
    case 2: size = varint(message); break;
    case 5: size = 4; break;
    default: return 0;
  }
  if (size > (uint64_t)(message->end - message->at)) return 0;
  *content = (Message){message->at, message->at + size};
  message->at += size;
  return (int)(tag >> 3);
}

static Message field(Message message, int number) {
  Message content = {NULL, NULL};
  for (int found; (found = next_field(&message, &content));)
    if (found == number) return content;
  return (Message){NULL, NULL};
}

/* The value of `key` in the map that is field `number`; empty where it is not there. */
static Message entry(Message message, int number, const char *key) {
  Message content;
  for (int found; (found = next_field(&message, &content));) {
    Message name = field(content, 1);
    size_t length = (size_t)(name.end - name.at);
    if (found == number && length == strlen(key) && !memcmp(name.at, key, length))
      return field(content, 2);
  }
  return (Message){NULL, NULL};
}

/* The tensor called `key` among the inputs (1) or outputs (2) of a SignatureDef. */
static TF_Output tensor(TF_Graph *graph, Message signature, int number, const char *key) {
  char name[512] = {0};
  Message found = field(entry(signature, number, key), 1);
  size_t length = (size_t)(found.end - found.at);
  if (!found.at || length >= sizeof name) fail("%s: serving_default has no %s", model_path, key);
  memcpy(name, found.at, length);
  char *colon = strrchr(name, ':');
  int index = colon ? atoi(colon + 1) : 0;
  if (colon) *colon = 0;
  TF_Operation *operation = TF_GraphOperationByName(graph, name);
  if (!operation) fail("%s: has no operation %s", model_path, name);
  return (TF_Output){operation, index};
}

static Model load(const Card *card, int threads) {
  Model model = {.status = TF_NewStatus(), .sources = card->sources, .channels = card->channels};
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Graph *graph = TF_NewGraph();
  TF_Buffer *buffer = TF_NewBuffer();
  const char *tags[] = {"serve"};
  if (threads) { /* ConfigProto: intra_op_parallelism_threads = 2, inter_op_parallelism_threads = 5 */
    uint8_t config[] = {0x10, (uint8_t)threads, 0x28, 1};
    TF_SetConfig(options, config, sizeof config, model.status);
    check(model.status);
  }
  model.session = TF_LoadSessionFromSavedModel(options, NULL, model_path, tags, 1, graph, buffer,
                                               model.status);
  check(model.status);
  const uint8_t *data = buffer->data;
  Message signature = entry((Message){data, data + buffer->length}, 5, "serving_default");
  if (!signature.at) fail("%s: has no signature serving_default", model_path);
  model.inputs[0] = tensor(graph, signature, 1, "waveform");
  model.asked = entry(signature, 1, "samples").at ? 2 : 1;
  if (model.asked == 2) model.inputs[1] = tensor(graph, signature, 1, "samples");
  for (int s = 0; s < card->sources; s++)
    model.outputs[s] = tensor(graph, signature, 2, card->names[s]);
  TF_DeleteBuffer(buffer);
  TF_DeleteSessionOptions(options);
  return model;
}

static void separate(void *data, const float *waveform, long long samples, float **stems) {
  Model *model = data;
  int64_t shape[] = {1, samples, model->channels};
  size_t bytes = sizeof(float) * (size_t)(samples * model->channels);
  TF_Tensor *inputs[] = {TF_AllocateTensor(TF_FLOAT, shape, 3, bytes),
                         TF_AllocateTensor(TF_INT32, shape, 1, sizeof(int32_t))};
  TF_Tensor *outputs[MOST_SOURCES] = {NULL};
  if (!inputs[0] || !inputs[1]) fail("out of memory");
  memcpy(TF_TensorData(inputs[0]), waveform, bytes);
  *(int32_t *)TF_TensorData(inputs[1]) = (int32_t)samples;
  TF_SessionRun(model->session, NULL, model->inputs, inputs, model->asked, model->outputs, outputs,
                model->sources, NULL, 0, NULL, model->status);
  check(model->status);
  for (int s = 0; s < model->sources; s++) {
    if (TF_TensorType(outputs[s]) != TF_FLOAT || TF_TensorByteSize(outputs[s]) != bytes)
      fail("%s: gives another shape than it takes", model_path);
    memcpy(stems[s], TF_TensorData(outputs[s]), bytes);
    TF_DeleteTensor(outputs[s]);
  }
  TF_DeleteTensor(inputs[0]);
  TF_DeleteTensor(inputs[1]);
}

int main(int count, char **words) {
  program = "separate_saved_model";
  const char *out = option(&count, words, "-o", ".");
  const char *seconds = option(&count, words, "--block-seconds", NULL);
  int threads = (int)number("--threads", option(&count, words, "--threads", "0"), 0, 127);
  if (count != 3)
    fail("usage: separate_saved_model FOLDER SONG.wav [-o OUT] [--block-seconds S] [--threads N]");
  model_path = words[1];
  char card_path[4096];
  snprintf(card_path, sizeof card_path, "%s/assets.extra/card.json", model_path);
  Card card = read_card(card_path);
  Recording wav = open_recording(words[2], &card);
  long long block = wav.samples, overlap = 0;
  if (seconds) {
    long long wanted = (long long)(number("--block-seconds", seconds, 0.1, 1e6) * card.sample_rate);
    if (wanted < block) {
      block = wanted;
      overlap = card.sample_rate < block / 4 && !card.joined ? card.sample_rate : block / 4;
    }
  }
  Model model = load(&card, threads);
  if (seconds && model.asked == 2)
    fail("%s: takes recordings whole; leave --block-seconds out", model_path);
  double length = separate_recording(&wav, &card, out, block, overlap, separate, &model);
  printf("%s: %d stems, %.2f s of sound\n", out, card.sources, length);
  return 0;
}
