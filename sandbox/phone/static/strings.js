// The page's own words, in English and Arabic, and how it writes times.

const STRINGS = {
  en: {
    other: "العربية", otherCode: "ar",
    agent: "Agent", online: "online", typing: "typing…", down: "does not answer",
    you: "You", they: "Agent", yourNumber: "You are {number}",
    about: "You write as {number}. The sandbox’s Twilio signs each message and posts it to the real service on this computer. Nothing leaves it.",
    messages: "Messages", inside: "Inside", backToChat: "Back to the chat",
    message: "Message", attach: "Attach", send: "Send", record: "Record a voice note", sendNote: "Send the voice note",
    cancel: "Discard the recording", close: "Close",
    sampleNotes: "Voice notes to send", more: "More", picture: "Picture", place: "Location: {place}",
    hold: "Hold to record, release to send. Or tap, speak, and tap again.",
    release: "Release to send", again: "Press again to send", recording: "Recording",
    noMicrophone: "No microphone can be used here. Send a voice note from the + menu instead.",
    microphoneLost: "The microphone stopped, so nothing was sent.",
    unreachable: "The sandbox does not answer.", tooLarge: "WhatsApp takes at most 16 MB.",
    sendAgain: "Send again what was not sent ({n})",
    refused: "Not sent: {reason}", offline: "The page has lost its connection. Trying again …",
    tooMany: "Too many windows show this page at the same time. Close or hide one of them.",
    sent: "Sent", delivered: "Delivered", read: "Read", failed: "Not taken by the service",
    notTaken: "The service did not take this message, and Twilio does not post it again.",
    lost: "A voice note did not arrive (Twilio error {code}).", lostText: "A message did not arrive (Twilio error {code}).",
    voiceNote: "Voice note", play: "Play", pause: "Pause", position: "Position", speed: "Speed {speed}",
    transcript: "Transcript", hideTranscript: "Hide the transcript", noWords: "No words were understood.",
    noTranscript: "The transcript could not be made. Press again to try again.", pictureSent: "Picture",
    choose: "Choose", chosen: "You have chosen.",
    turn: "This message, step by step", turnEmpty: "Send a message: each step appears here while it happens.",
    running: "Running …", textAfter: "Text answer after {text}.", voiceAfter: "Voice note after {voice}.",
    split: "Providers were at work for {providers} of it; this service added {own}.",
    ended: "No answer was sent.",
    pathLabel: "Until the text answer: providers {providers}, this service {own}",
    keyProvider: "providers", keyOwn: "this service", keyBeside: "nobody waits for it",
    stages: "Stages of the turn", stage: "Stage", when: "When", took: "Took", from: "from {start}",
    shared: "Another phone wrote at the same time. Calls to Agentforce and ElevenLabs may be about its message.",
    break: "Break something", breakNote: "For all phones, until it is switched off. Then write or speak.",
    calls: "Calls to the providers", callsNote: "Words, numbers and secrets are left out, as in the log.",
    noCalls: "None yet.", asked: "Sent", answered: "Received", nothing: "nothing",
    lines: "What the service logged", met: "Met {times}. What the service did:", once: "once", times: "{n} times",
    sw: {
      slow_providers: ["Providers as slow as real ones", "Download 0.45 s, transcription 1.2 s, agent 2.2 s more. Without it, the stand-ins answer at once."],
      late_recording: ["The recording is not ready for 2 s", "Twilio answers 404 for so long."],
      agent_fails: ["The agent answers 500", "Each question fails."],
      agent_slow: ["The agent takes 20 s", "The user is told that it takes a moment."],
      speech_limit: ["ElevenLabs is at its limit", "It answers 429, as if the plan’s calls were used up."],
      note_undelivered: ["The voice note is not delivered", "WhatsApp reports error 63019."],
    },
    killed: { web: "Kill the service", worker: "Kill a worker" },
    killNote: "At once, as the kernel does when memory runs out. Messages that it took are not lost.",
    startAgain: "Start it again", state: { running: "It runs.", killed: "It is dead.", starting: "It starts …" },
    since: "Logged since then:",
  },
  ar: {
    other: "English", otherCode: "en",
    agent: "الوكيل", online: "متصل", typing: "يكتب…", down: "لا يجيب",
    you: "أنت", they: "الوكيل", yourNumber: "رقمك {number}",
    about: "تكتب من الرقم {number}. يوقّع Twilio التجريبي كل رسالة ويرسلها إلى الخدمة الحقيقية على هذا الحاسوب، ولا يخرج منه شيء.",
    messages: "الرسائل", inside: "في الداخل", backToChat: "العودة إلى المحادثة",
    message: "رسالة", attach: "إرفاق", send: "إرسال", record: "تسجيل رسالة صوتية", sendNote: "إرسال الرسالة الصوتية",
    cancel: "حذف التسجيل", close: "إغلاق",
    sampleNotes: "رسائل صوتية جاهزة", more: "المزيد", picture: "صورة", place: "موقع: {place}",
    hold: "اضغط مطوّلًا للتسجيل ثم ارفع إصبعك للإرسال، أو انقر وتحدّث ثم انقر مرة أخرى.",
    release: "ارفع إصبعك للإرسال", again: "اضغط مرة أخرى للإرسال", recording: "جارٍ التسجيل",
    noMicrophone: "لا يمكن استخدام الميكروفون هنا. أرسل رسالة صوتية جاهزة من قائمة +.",
    microphoneLost: "توقف الميكروفون، فلم يُرسل شيء.",
    unreachable: "بيئة التجربة لا تجيب.", tooLarge: "يقبل WhatsApp ‎16 MB على الأكثر.",
    sendAgain: "أعد إرسال ما لم يُرسل ({n})",
    refused: "لم تُرسل: {reason}", offline: "انقطع اتصال الصفحة. تجري المحاولة من جديد…",
    tooMany: "تعرض نوافذ كثيرة هذه الصفحة في الوقت نفسه. أغلق إحداها أو أخفها.",
    sent: "أُرسلت", delivered: "سُلّمت", read: "قُرئت", failed: "لم تستلمها الخدمة",
    notTaken: "لم تستلم الخدمة هذه الرسالة، ولا يعيد Twilio إرسالها.",
    lost: "لم تصل رسالة صوتية (خطأ Twilio رقم {code}).", lostText: "لم تصل رسالة (خطأ Twilio رقم {code}).",
    voiceNote: "رسالة صوتية", play: "تشغيل", pause: "إيقاف مؤقت", position: "الموضع", speed: "السرعة {speed}",
    transcript: "النص", hideTranscript: "إخفاء النص", noWords: "لم تُفهم أي كلمات.",
    noTranscript: "تعذّر إعداد النص. اضغط مرة أخرى للمحاولة من جديد.", pictureSent: "صورة",
    choose: "اختر", chosen: "لقد اخترت.",
    turn: "هذه الرسالة خطوة بخطوة", turnEmpty: "أرسل رسالة لترى هنا كل خطوة وقت حدوثها.",
    running: "قيد التنفيذ…", textAfter: "وصل الجواب المكتوب بعد {text}.", voiceAfter: "ووصلت الرسالة الصوتية بعد {voice}.",
    split: "عمل المزوّدون {providers} من هذا الوقت، وأضافت هذه الخدمة {own}.",
    ended: "لم يُرسل أي جواب.",
    pathLabel: "حتى الجواب المكتوب: المزوّدون {providers}، هذه الخدمة {own}",
    keyProvider: "المزوّدون", keyOwn: "هذه الخدمة", keyBeside: "لا ينتظره أحد",
    stages: "مراحل الرسالة", stage: "المرحلة", when: "متى", took: "المدة", from: "من {start}",
    shared: "كتب هاتف آخر في الوقت نفسه، وقد تخص رسالتَه بعضُ الطلبات إلى Agentforce وElevenLabs.",
    break: "عطّل شيئًا", breakNote: "لكل الهواتف، حتى تُطفئه. ثم اكتب أو تحدّث.",
    calls: "الطلبات إلى المزوّدين", callsNote: "حُذفت الكلمات والأرقام والأسرار، كما في السجل.",
    noCalls: "لا شيء بعد.", asked: "أُرسل", answered: "استُلم", nothing: "لا شيء",
    lines: "ما سجّلته الخدمة", met: "حدث {times}. ما فعلته الخدمة:", once: "مرة واحدة", times: "{n} مرات",
    sw: {
      slow_providers: ["مزوّدون بسرعة المزوّدين الحقيقيين", "التنزيل ‎0.45 ث والتفريغ ‎1.2 ث والوكيل ‎2.2 ث إضافية. من دونه تجيب البدائل التجريبية فورًا."],
      late_recording: ["التسجيل غير جاهز مدة ثانيتين", "يجيب Twilio بالرمز 404 طوال ذلك."],
      agent_fails: ["الوكيل يجيب بالخطأ 500", "يفشل كل سؤال."],
      agent_slow: ["الوكيل يستغرق 20 ثانية", "يُخبَر المستخدم بأن الأمر يحتاج إلى لحظة."],
      speech_limit: ["ElevenLabs بلغ حدّه", "يجيب بالرمز 429 كأن طلبات الخطة نفدت."],
      note_undelivered: ["الرسالة الصوتية لا تُسلَّم", "يبلّغ WhatsApp عن الخطأ 63019."],
    },
    killed: { web: "أوقف الخدمة قسرًا", worker: "أوقف عاملًا قسرًا" },
    killNote: "فورًا، كما تفعل النواة حين تنفد الذاكرة. لا تضيع الرسائل التي استلمتها.",
    startAgain: "شغّلها من جديد", state: { running: "إنها تعمل.", killed: "إنها متوقفة.", starting: "إنها تبدأ…" },
    since: "ما سُجّل منذ ذلك:",
  },
};

// The timeline's names for stages; one that is not here is shown as it is.
const STAGES = {
  "Webhook acknowledged": "تأكيد الاستلام", "Typing shown": "إظهار الكتابة", "Agentforce session": "جلسة Agentforce",
  Download: "التنزيل", Convert: "التحويل", Transcription: "التفريغ", Agent: "الوكيل", "Text sent": "إرسال النص",
  Speech: "النطق", "Voice note fetched": "جلب الرسالة الصوتية",
};

const stored = localStorage.getItem("language");
export let language = stored in STRINGS ? stored : navigator.language.startsWith("ar") ? "ar" : "en";

export function t(key, values = {}) {
  const text = key.split(".").reduce((found, part) => found && found[part], STRINGS[language]) ?? key;
  if (typeof text !== "string") return text;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export function setLanguage(code) {
  language = code;
  localStorage.setItem("language", code);
  applyLanguage();
}

// Writes the words of the page's fixed parts.
export function applyLanguage() {
  document.documentElement.lang = language;
  document.documentElement.dir = language === "ar" ? "rtl" : "ltr";
  for (const node of document.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
  for (const node of document.querySelectorAll("[data-t-placeholder]")) node.placeholder = t(node.dataset.tPlaceholder);
}

const locale = () => (language === "ar" ? "ar-u-nu-latn" : "en");

export function seconds(value) {
  const small = value < 0.9995;
  const number = small ? Math.round(value * 1000) : value.toFixed(2);
  const unit = language === "ar" ? (small ? "م.ث" : "ث") : small ? "ms" : "s";
  return `${number} ${unit}`;
}

export function timeOfDay(iso) {
  return new Date(iso).toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit" });
}

// 0:07
export function clock(value) {
  const whole = Math.round(value);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export function stageName(name) {
  const [, first, calls] = name.match(/^(.*?)(?:, (\d+) (?:calls|parts))?$/);
  if (language !== "ar" || !STAGES[first]) return name;
  return calls ? `${STAGES[first]} (${calls})` : STAGES[first];
}

// question-long-en: "Question long (English)"
export function sampleName(stem) {
  const parts = stem.split("-");
  const code = parts.at(-1);
  const words = parts.slice(0, -1).join(" ");
  const name = new Intl.DisplayNames([locale()], { type: "language", fallback: "none" }).of(code);
  return name && words ? `${words[0].toUpperCase()}${words.slice(1)} (${name})` : stem;
}

export const times = (n) => (n === 1 ? t("once") : t("times", { n }));

export const number = (digits) => digits.replace(/^\+1555/, "+1 555 ");
