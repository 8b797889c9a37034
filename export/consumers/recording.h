/* What both C programs share: WAV in, WAVs out, numbers of a card, and blocks that fade into each
   other, or are joined as a card says, as in separate_tflite.py. C11 and POSIX, nothing else;
   little-endian machines. */

#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_SOURCES 16

static const char *program = "";
static FILE *errors; /* where this program's own lines go; NULL: stderr */

/* What a library writes to stderr goes nowhere: it has no function to be quiet. Before main, as some
   libraries write when they are loaded. */
static void silence_the_library(void) {
  int kept = dup(2), nowhere = open("/dev/null", O_WRONLY);
  if (kept < 0 || nowhere < 0 || !(errors = fdopen(kept, "w"))) return;
  setvbuf(errors, NULL, _IOLBF, 0);
  dup2(nowhere, 2);
  close(nowhere);
}

#ifdef __linux__
__attribute__((section(".preinit_array"), used)) static void (*before_libraries)(void) =
    silence_the_library;
#endif

/* One line on stderr, and the end. */
static void fail(const char *format, ...) {
  va_list values;
  va_start(values, format);
  FILE *file = errors ? errors : stderr;
  fprintf(file, "%s: ", program);
  vfprintf(file, format, values);
  fputc('\n', file);
  _exit(1); /* without the destructors of libraries whose threads are running */
}

static void *allocate(size_t count, size_t size) {
  void *memory = calloc(count ? count : 1, size);
  if (!memory) fail("out of memory");
  return memory;
}

/* ---- the card: a JSON file that kzoo wrote ---- */

typedef struct {
  char *text;
  int sample_rate, channels, sources;
  char *names[MOST_SOURCES];
  int joined, linear, centred, standardised; /* joined: the card has a joining */
  int levelled, interchangeable;
  double level_db;
} Card;

/* What follows the first "key": in a text, or NULL. */
static const char *value_of(const char *text, const char *key) {
  char quoted[300];
  snprintf(quoted, sizeof quoted, "\"%s\"", key);
  const char *at = text ? strstr(text, quoted) : NULL;
  if (!at) return NULL;
  at += strlen(quoted);
  while (*at == ' ') at++;
  if (*at != ':') return NULL;
  for (at++; *at == ' ' || *at == '\n'; at++) {
  }
  return at;
}

/* What follows the key of the outermost object of a text, or NULL. */
static const char *own_value_of(const char *text, const char *key) {
  size_t length = strlen(key);
  int depth = 0;
  for (const char *at = text; *at; at++) {
    depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
    if (*at != '"') continue;
    const char *name = ++at;
    while (*at && *at != '"') at += *at == '\\' && at[1] ? 2 : 1;
    if (!*at) break;
    if (depth != 1 || (size_t)(at - name) != length || memcmp(name, key, length)) continue;
    const char *value = at + 1 + strspn(at + 1, " \n");
    if (*value == ':') return value + 1 + strspn(value + 1, " \n");
  }
  return NULL;
}

/* A whole number of at least 1, or 0. */
static long long number_of(const char *text, const char *key) {
  const char *at = value_of(text, key);
  long long number = at ? strtoll(at, NULL, 10) : 0;
  return number > 0 ? number : 0;
}

static void read_joining(Card *card) {
  const char *at = own_value_of(card->text, "joining");
  if (!at) return;
  card->joined = 1;
  for (at += *at == '{'; (at += strspn(at, " \n,")) && *at == '"';) {
    int length = (int)strcspn(++at, "\"");
    int *known = !strncmp(at, "linear\"", 7)         ? &card->linear
                 : !strncmp(at, "centred\"", 8)       ? &card->centred
                 : !strncmp(at, "standardised\"", 13) ? &card->standardised
                                                      : NULL;
    if (!known)
      fail("its blocks are joined %.*s, which this program does not know; take that of the kzoo "
           "which wrote the file", length, at);
    at += length;
    at += strspn(at, "\": ");
    *known = *at == 't';
    at += strcspn(at, ",}");
  }
}

static Card read_card(const char *path) {
  Card card = {0};
  FILE *file = fopen(path, "rb");
  if (!file) fail("%s: is not there; the model and its card belong together", path);
  fseek(file, 0, SEEK_END);
  long size = ftell(file);
  rewind(file);
  card.text = allocate(size > 0 ? (size_t)size + 1 : 1, 1);
  if (size <= 0 || fread(card.text, 1, (size_t)size, file) != (size_t)size)
    fail("%s: cannot be read", path);
  fclose(file);
  card.sample_rate = (int)number_of(card.text, "sample_rate");
  card.channels = (int)number_of(card.text, "channels");
  const char *at = value_of(card.text, "sources");
  if (at && *at == '[')
    for (at++; card.sources < MOST_SOURCES && (at += strspn(at, " \n,")) && *at == '"';) {
      size_t length = strcspn(++at, "\"");
      card.names[card.sources] = allocate(length + 1, 1);
      memcpy(card.names[card.sources++], at, length);
      at += length + (at[length] == '"');
    }
  if (!card.sample_rate || !card.channels || !card.sources)
    fail("%s: is not the card of a separator", path);
  read_joining(&card);
  at = own_value_of(card.text, "level_db");
  if (at) card.levelled = 1, card.level_db = strtod(at, NULL);
  at = own_value_of(card.text, "interchangeable");
  card.interchangeable = at && *at == 't';
  return card;
}

/* ---- recordings ---- */

typedef struct {
  FILE *file;
  int rate, channels, bytes; /* bytes: of a sample */
  long long samples;         /* per channel, that are in the file, whatever its header promises */
  struct stat place;
} Recording;

static uint32_t little(const uint8_t *at, int bytes) {
  uint32_t value = 0;
  for (int i = 0; i < bytes; i++) value |= (uint32_t)at[i] << 8 * i;
  return value;
}

/* A PCM WAV of 8, 16, 24 or 32 bits at the rate and with the channels of the card, or 1. */
static Recording open_recording(const char *path, const Card *card) {
  Recording wav = {.file = fopen(path, "rb")};
  uint8_t head[12], format[40] = {0};
  if (!wav.file || fstat(fileno(wav.file), &wav.place)) fail("%s: cannot be opened", path);
  if (fread(head, 1, 12, wav.file) != 12 || memcmp(head, "RIFF", 4) || memcmp(head + 8, "WAVE", 4))
    fail("%s: is no WAV; convert it first: ffmpeg -i FILE -c:a pcm_s16le plain.wav", path);
  for (;;) {
    if (fread(head, 1, 8, wav.file) != 8) fail("%s: is a WAV without sound", path);
    uint32_t size = little(head + 4, 4);
    if (!memcmp(head, "data", 4)) {
      int kind = (int)little(format, 2), bits = (int)little(format + 14, 2);
      if (kind == 0xFFFE) kind = (int)little(format + 24, 2);
      wav.channels = (int)little(format + 2, 2);
      wav.rate = (int)little(format + 4, 4);
      wav.bytes = bits / 8;
      if (kind != 1 || bits % 8 || wav.bytes < 1 || wav.bytes > 4 || wav.channels < 1)
        fail("%s: not a plain PCM WAV; convert it first: ffmpeg -i FILE -c:a pcm_s16le plain.wav",
             path);
      long begins = ftell(wav.file), frame = (long)wav.bytes * wav.channels;
      fseek(wav.file, 0, SEEK_END);
      long there = ftell(wav.file) - begins;
      fseek(wav.file, begins, SEEK_SET);
      if (there < (long)size && size != UINT32_MAX)
        fprintf(errors ? errors : stderr, "%s: %s: cut short, %.2f s of the %.2f s its header promises\n", program,
                path, (double)there / frame / wav.rate, (double)size / frame / wav.rate);
      wav.samples = (there < (long)size ? there : (long)size) / frame;
      break;
    }
    if (!memcmp(head, "fmt ", 4) && size >= 16 && size <= sizeof format) {
      if (fread(format, 1, size, wav.file) != size) fail("%s: is cut off in its header", path);
      size = 0;
    }
    if (fseek(wav.file, size + size % 2, SEEK_CUR)) fail("%s: is cut off in its header", path);
  }
  if (wav.rate != card->sample_rate)
    fail("%s: has %d Hz, the model wants %d; resample it first: ffmpeg -i FILE -ar %d resampled.wav",
         path, wav.rate, card->sample_rate, card->sample_rate);
  if (wav.channels != 1 && wav.channels != card->channels)
    fail("%s: has %d channels, the model takes %d or 1", path, wav.channels, card->channels);
  if (!wav.samples) fail("%s: holds no sound", path);
  if (wav.samples > (UINT32_MAX - 36) / 3 / wav.channels)
    fail("%s: is too long for the stems, WAVs of 24 bits, which end at 4 GB", path);
  return wav;
}

/* Fill [samples, channels] from the recording, mono on all channels; how many samples there were. */
static long long read_samples(Recording *wav, float *waveform, long long samples, int channels) {
  size_t frame = (size_t)wav->bytes * (size_t)wav->channels;
  uint8_t *data = allocate((size_t)samples, frame);
  long long found = (long long)fread(data, frame, (size_t)samples, wav->file);
  for (long long i = 0; i < found; i++)
    for (int c = 0; c < channels; c++) {
      const uint8_t *at = data + (size_t)i * frame + (size_t)(wav->channels == 1 ? 0 : c * wav->bytes);
      float value;
      if (wav->bytes == 1)
        value = ((float)*at - 128.0f) / 128.0f;
      else
        value = (float)(int32_t)(little(at, wav->bytes) << (32 - 8 * wav->bytes)) / 2147483648.0f;
      waveform[i * channels + c] = value;
    }
  free(data);
  return found;
}

static void put(FILE *file, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; i++) fputc((int)(value >> 8 * i & 255), file);
}

/* The header of a 24-bit WAV, written again when its length is known. */
static void write_header(FILE *file, int rate, int channels, long long samples) {
  uint32_t bytes = (uint32_t)(samples * channels * 3);
  rewind(file);
  fwrite("RIFF", 1, 4, file), put(file, 36 + bytes, 4), fwrite("WAVEfmt ", 1, 8, file);
  put(file, 16, 4), put(file, 1, 2), put(file, (uint32_t)channels, 2), put(file, (uint32_t)rate, 4);
  put(file, (uint32_t)(rate * channels * 3), 4), put(file, (uint32_t)(channels * 3), 2);
  put(file, 24, 2), fwrite("data", 1, 4, file), put(file, bytes, 4);
}

/* [samples, channels] behind what is there, as `width` channels: one is the mean of all. */
static void write_samples(FILE *file, const float *stem, long long samples, int channels, int width) {
  for (long long i = 0; i < samples; i++)
    for (int c = 0; c < width; c++) {
      float value = stem[i * channels + c];
      if (width < channels) {
        value = 0;
        for (int k = 0; k < channels; k++) value += stem[i * channels + k];
        value /= (float)channels;
      }
      double clipped = value < -1 ? -1 : value > 1 - 0x1p-23 ? 1 - 0x1p-23 : value;
      put(file, (uint32_t)(int32_t)rint(clipped * 0x1p23), 3);
    }
}

/* The mean and the deviation of the whole recording, of the mean of its channels. */
static void measure(Recording *wav, float *mean, float *deviation) {
  enum { PIECE = 1 << 16 };
  double sum = 0, squares = 0, count = (double)wav->samples;
  long begins = ftell(wav->file);
  float *piece = allocate(PIECE, sizeof(float) * (size_t)wav->channels);
  for (long long left = wav->samples; left > 0; left -= PIECE) {
    long long found = read_samples(wav, piece, left < PIECE ? left : PIECE, wav->channels);
    for (long long i = 0; i < found; i++) {
      double mono = 0;
      for (int c = 0; c < wav->channels; c++) mono += piece[i * wav->channels + c];
      mono /= wav->channels;
      sum += mono, squares += mono * mono;
    }
  }
  free(piece);
  fseek(wav->file, begins, SEEK_SET);
  double variance = (squares - sum * sum / count) / (count > 1 ? count - 1 : 1);
  *mean = (float)(sum / count);
  *deviation = (float)(sqrt(variance > 0 ? variance : 0) + 1e-8);
}

/* The gain to the card's level, 0 of silence: that of the mean power of the 50 ms that are at most
   30 dB below the loudest, in classes of 1 dB. */
static double gain_to_level(Recording *wav, const Card *card, long long block, long long hop) {
  enum { FAINTEST_DB = -140, CLASSES = 150 };
  double powers[CLASSES] = {0}, power = 0, number = 0;
  long long counts[CLASSES] = {0}, frame = (long long)rint(0.05 * card->sample_rate);
  long begins = ftell(wav->file);
  int width = wav->channels, loudest = -1;
  float *heard = allocate((size_t)block, sizeof(float) * (size_t)width);
  if (frame < 1) frame = 1;
  for (long long start = 0; start < wav->samples; start += hop) {
    long long present = block < wav->samples - start ? block : wav->samples - start;
    long long kept = !start ? 0 : block - hop < present ? block - hop : present;
    memmove(heard, heard + hop * width, sizeof(float) * (size_t)(kept * width));
    read_samples(wav, heard + kept * width, present - kept, width);
    memset(heard + present * width, 0, sizeof(float) * (size_t)((block - present) * width));
    for (long long at = 0; at + frame <= block; at += frame) {
      double mean = 0;
      for (long long i = at * width; i < (at + frame) * width; i++)
        mean += (double)heard[i] * heard[i];
      mean /= (double)(frame * width);
      if (mean <= pow(10, FAINTEST_DB / 10.0)) continue;
      int kind = (int)floor(10 * log10(mean)) - FAINTEST_DB;
      if (kind >= CLASSES) kind = CLASSES - 1;
      powers[kind] += mean, counts[kind]++;
      if (kind > loudest) loudest = kind;
    }
  }
  free(heard);
  fseek(wav->file, begins, SEEK_SET);
  for (int kind = loudest < 30 ? 0 : loudest - 30; kind <= loudest; kind++)
    power += powers[kind], number += (double)counts[kind];
  return number ? pow(10, (card->level_db - 10 * log10(power / number)) / 20) : 0;
}

/* Of all orders the one whose `likeness` [count, count] is most; the first of equals, which is as is. */
static void try_orders(int count, const double *likeness, int at, double sum, int *order, int *best,
                       double *most) {
  if (at == count && sum > *most) *most = sum, memcpy(best, order, sizeof(int) * (size_t)count);
  for (int i = at; i < count; i++) {
    int other = order[i];
    order[i] = order[at], order[at] = other;
    try_orders(count, likeness, at + 1, sum + likeness[at * count + other], order, best, most);
    order[at] = order[i], order[i] = other;
  }
}

/* Put stems in the order in which they go on from the tails: of speakers any may come first. */
static void put_in_order(float **stems, float **tails, int sources, const float *fade,
                         long long overlap, int channels) {
  double likeness[MOST_SOURCES * MOST_SOURCES] = {0}, most = -INFINITY;
  int order[MOST_SOURCES], best[MOST_SOURCES];
  float *now[MOST_SOURCES];
  for (int a = 0; a < sources; a++) {
    order[a] = a, now[a] = stems[a];
    for (int b = 0; b < sources; b++)
      for (long long i = 0; i < overlap * channels; i++) {
        double share = fade[i / channels];
        likeness[a * sources + b] += share * (1 - share) * tails[a][i] * stems[b][i];
      }
  }
  try_orders(sources, likeness, 0, 0, order, best, &most);
  for (int s = 0; s < sources; s++) stems[s] = now[best[s]];
}

/* ---- blocks that fade into each other ---- */

/* Separate waveform [samples, channels] into stems[source], each of that size. */
typedef void (*Separate)(void *model, const float *waveform, long long samples, float **stems);

/* Write out/SOURCE.wav for each source; the seconds of sound in them. */
static double separate_recording(Recording *wav, const Card *card, const char *out, long long block,
                                 long long overlap, Separate separate, void *model) {
  int channels = card->channels;
  long long hop = block - overlap, total = wav->samples;
  size_t frame = sizeof(float) * (size_t)channels;
  long long past = card->centred ? block / 2 : 0; /* samples before the block */
  float *heard = allocate((size_t)(past + block), frame), *waveform = heard + past * channels;
  float *fade = allocate((size_t)overlap, sizeof(float)), mean = 0, deviation = 1;
  float *stems[MOST_SOURCES], *tails[MOST_SOURCES];
  FILE *files[MOST_SOURCES];
  for (long long i = 0; i < overlap; i++) {
    double side = sin(0.5 * 3.14159265358979323846 * ((double)i + 0.5) / (double)overlap);
    fade[i] = (float)(card->linear ? (double)(i + 1) / (double)(overlap + 1) : side * side);
  }
  mkdir(out, 0777); /* or it is there already; if neither, fopen says so */
  char paths[MOST_SOURCES][4096];
  for (int s = 0; s < card->sources; s++) {
    struct stat there, *own = &wav->place;
    snprintf(paths[s], sizeof paths[s], "%s/%s.wav", out, card->names[s]);
    if (!stat(paths[s], &there) && there.st_ino == own->st_ino && there.st_dev == own->st_dev)
      fail("%s: is the recording itself; give another folder by -o", paths[s]);
  }
  for (int s = 0; s < card->sources; s++) {
    files[s] = fopen(paths[s], "wb");
    if (!files[s]) fail("%s: cannot be written", paths[s]);
    write_header(files[s], wav->rate, wav->channels, 0);
    stems[s] = allocate((size_t)block, frame);
    tails[s] = allocate((size_t)overlap, frame);
  }
  double gain = card->levelled ? gain_to_level(wav, card, block, hop) : 1;
  if (gain) deviation = (float)(1 / gain);
  if (card->standardised) measure(wav, &mean, &deviation);
  /* What has a joining begins a block at every hop, even behind one that hears the end. */
  long long end = card->joined ? total : total - overlap;
  for (long long start = 0; start == 0 || start < end; start += hop) {
    long long present = block < total - start ? block : total - start;
    long long kept = !start ? 0 : overlap < present ? overlap : present;
    memmove(heard, heard + hop * channels, (size_t)(past + kept) * frame);
    read_samples(wav, waveform + kept * channels, present - kept, channels);
    for (long long i = kept * channels; i < present * channels; i++)
      waveform[i] = (waveform[i] - mean) / deviation;
    memset(waveform + present * channels, 0, (size_t)(block - present) * frame);
    long long early = card->centred ? (block - present) / 2 : 0;
    const float *window = waveform - early * channels;
    separate(model, window, block, stems);
    long long heard_any = !card->levelled;
    for (long long i = 0; gain && !heard_any && i < block * channels; i++) heard_any = window[i] != 0;
    for (int s = 0; s < card->sources && !heard_any; s++) /* a network may say something in silence */
      memset(stems[s], 0, (size_t)block * frame);
    if (start && card->interchangeable)
      put_in_order(stems, tails, card->sources, fade, overlap, channels);
    long long count = start + hop < end ? hop : present;
    for (int s = 0; s < card->sources; s++) {
      memmove(stems[s], stems[s] + early * channels, (size_t)(block - early) * frame);
      for (long long i = 0; start && i < overlap * channels; i++) {
        float entering = fade[i / channels];
        stems[s][i] = entering * stems[s][i] + (1 - entering) * tails[s][i];
      }
      memcpy(tails[s], stems[s] + hop * channels, (size_t)overlap * frame);
      for (long long i = 0; i < count * channels; i++) stems[s][i] = stems[s][i] * deviation + mean;
      write_samples(files[s], stems[s], count, channels, wav->channels);
    }
  }
  for (int s = 0; s < card->sources; s++) {
    write_header(files[s], wav->rate, wav->channels, total);
    if (ferror(files[s]) | fclose(files[s])) fail("%s: was not written whole", paths[s]);
    free(stems[s]), free(tails[s]);
  }
  free(heard), free(fade), fclose(wav->file);
  return (double)total / wav->rate;
}

/* ---- words of the command line ---- */

/* The word behind `name`, or `otherwise`; both words are taken out of the list. */
static const char *option(int *count, char **words, const char *name, const char *otherwise) {
  for (int i = 1; i + 1 < *count; i++)
    if (!strcmp(words[i], name)) {
      const char *value = words[i + 1];
      memmove(words + i, words + i + 2, sizeof *words * (size_t)(*count - i - 2));
      *count -= 2;
      return value;
    }
  return otherwise;
}

static double number(const char *name, const char *word, double least, double most) {
  char *end;
  double value = strtod(word, &end);
  if (*end || end == word || !(value >= least && value <= most))
    fail("%s must be %g to %g; got %s", name, least, most, word);
  return value;
}
