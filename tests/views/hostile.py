"""Forty texts that want to be more than text."""

PAYLOADS = (
    "<script>window.hurt=1</script>",
    "<img src=x onerror=window.hurt=2>",
    "<svg onload=window.hurt=3>",
    "<svg><script>window.hurt=4</script></svg>",
    "<body onload=window.hurt=5>",
    "<iframe srcdoc='<script>parent.hurt=6</script>'></iframe>",
    "<iframe src=javascript:parent.hurt=7></iframe>",
    "<a href=javascript:window.hurt=8 autofocus onfocus=window.hurt=8>x</a>",
    "<input autofocus onfocus=window.hurt=9>",
    "<details open ontoggle=window.hurt=10>x</details>",
    "<video><source onerror=window.hurt=11></video>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.hurt=12>",
    "<object data=javascript:window.hurt=13></object>",
    "<embed src=javascript:window.hurt=14>",
    "<form action=javascript:window.hurt=15><button autofocus>x</button></form>",
    "<meta http-equiv=refresh content='0;url=javascript:window.hurt=16'>",
    "<base href=http://evil.test/>",
    "<link rel=stylesheet href=http://evil.test/x.css>",
    "<style>*{background:url(http://evil.test/x)}</style>",
    '"><script>window.hurt=20</script>',
    "'><script>window.hurt=21</script>",
    "</title><script>window.hurt=22</script>",
    "</textarea><script>window.hurt=23</script>",
    "</pre><script>window.hurt=24</script>",
    "--><script>window.hurt=25</script>",
    "]]><script>window.hurt=26</script>",
    '" onmouseover="window.hurt=27" autofocus onfocus="window.hurt=27',
    "' onmouseover='window.hurt=28' autofocus onfocus='window.hurt=28",
    "javascript:window.hurt=29",
    "{{ 7*7 }}{% for x in [].__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "${window.hurt=31}`+(window.hurt=31)+`",
    "<div hx-get=/settings hx-trigger=load hx-target=body>x</div>",
    "<div hx-on::load=window.hurt=33>x</div>",
    '<div data-hx-post=/settings/theme hx-vals=\'{"theme":"dark"}\' hx-trigger=load>x</div>',
    "<p sse-connect=http://evil.test/ sse-swap=x hx-ext=sse>x</p>",
    "&lt;script&gt;window.hurt=36&lt;/script&gt;&#60;img src=x onerror=window.hurt=36&#62;",
    "\\u003cscript\\u003ewindow.hurt=37\\u003c/script\\u003e",
    "<scr\u200bipt>window.hurt=38</scr\u200bipt>\u202e\u2066<img src=x onerror=window.hurt=38>",
    "<a id=drawer name=search href=x>x</a><form id=toasts><input name=attributes></form>",
    "\x1b]8;;javascript:window.hurt=40\x07x\x1b[31m<img src=x onerror=window.hurt=40>",
)
assert len(PAYLOADS) == 40

TRACES = (
    "[onerror], [onload], [onfocus], [ontoggle], [onmouseover], [srcdoc], script:not([src]), "
    "iframe, object, embed, base, video, math, style, meta[http-equiv], a[href^='javascript:'], "
    "form[action^='javascript:'], [src='x'], [href*='evil.test'], [data-hx-post], "
    "[hx-on\\:\\:load], [sse-connect*='evil.test'], [hx-trigger='load'][hx-target='body'], "
    "a#drawer, form#toasts"
)
"""What of them would be found in a page in which they are more than text."""
