import Choosing
import Measuring
import Records
import Statistics
import Units

/// The style sheet of a report: readable on a phone and on a desk, light and dark.
///
/// Colours of strategies are those of pictures; the dark theme has lighter ones of the same hues.
enum ReportStyle {
  static let sheet: StaticString = """
    :root {
      color-scheme: light dark;
      --page: #f6f7f8; --card: #ffffff; --text: #1b1f24; --muted: #5a636e; --rule: #dde1e6;
      --accent: #0067a8; --warn: #8a4b00; --warn-page: #fff3df; --bad: #a8201a; --good: #1a6b3c;
      --c0: #000000; --c1: #0072b2; --c2: #d55e00; --c3: #009e73; --c4: #b8608f; --c5: #c98600;
      --c6: #2f93c9; --c7: #882255; --c8: #4a3aa8; --c9: #7d7d24; --c10: #8c5a2b; --c11: #9a8f00;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --page: #14171a; --card: #1d2125; --text: #e6e9ec; --muted: #9fa9b3; --rule: #363c43;
        --accent: #6cb8ee; --warn: #f2b866; --warn-page: #35291a; --bad: #ff8d85; --good: #7fd6a2;
        --c0: #f2f2f2; --c1: #4aa8e0; --c2: #ff8a3d; --c3: #2fc79a; --c4: #e39ac2; --c5: #f0b43c;
        --c6: #8fd0f5; --c7: #e0739f; --c8: #a99cf5; --c9: #c9c96a; --c10: #cf9a66; --c11: #f0e442;
      }
    }
    * { box-sizing: border-box; }
    html { -webkit-text-size-adjust: 100%; }
    body {
      margin: 0; background: var(--page); color: var(--text);
      font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
    }
    main, header { max-width: 1120px; margin: 0 auto; padding: 0 16px; }
    header { padding-top: 28px; }
    h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; }
    h2 { font-size: 1.25rem; line-height: 1.3; margin: 40px 0 10px; }
    h3 { font-size: 1rem; margin: 20px 0 8px; }
    figcaption h3 { margin: 0; }
    p { margin: 0 0 10px; max-width: 72ch; }
    a { color: var(--accent); }
    code, pre { font: 0.875em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
    pre {
      background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
      padding: 12px 14px; overflow-x: auto; margin: 0 0 12px;
    }
    .muted, .axis, .notes, .small { color: var(--muted); font-size: 0.875rem; }
    .lead { font-size: 1.0625rem; }
    nav { margin: 14px 0 0; display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 0.9375rem; }
    .counts { display: flex; flex-wrap: wrap; gap: 8px; margin: 14px 0; padding: 0; list-style: none; }
    .counts li, .status {
      border: 1px solid var(--rule); border-radius: 999px; padding: 2px 11px; font-size: 0.875rem;
      background: var(--card); white-space: nowrap;
    }
    .status { padding: 1px 8px; font-size: 0.8125rem; }
    .ok { color: var(--good); } .care { color: var(--warn); } .skip { color: var(--muted); }
    .bad { color: var(--bad); }
    .table {
      overflow-x: auto; background: var(--card); border: 1px solid var(--rule);
      border-radius: 10px; margin: 0 0 14px; -webkit-overflow-scrolling: touch;
    }
    table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
    th, td {
      text-align: left; padding: 7px 12px; border-bottom: 1px solid var(--rule);
      vertical-align: top; white-space: nowrap; font-variant-numeric: tabular-nums;
    }
    tbody tr:last-child > * { border-bottom: 0; }
    thead th { color: var(--muted); font-weight: 600; font-size: 0.8125rem; }
    tbody th { font-weight: 600; }
    .num { text-align: right; }
    .reason {
      position: sticky; left: 12px; display: inline-block; white-space: normal;
      max-width: min(100vw - 60px, 1060px); color: var(--muted); font-size: 0.8125rem;
    }
    tr.explained > * { border-bottom: 0; padding-bottom: 2px; }
    tr.explained + tr > td { padding-top: 0; }
    .group th { background: var(--page); }
    th.pinned { position: sticky; left: 0; background: var(--card); }
    .group .pinned { position: sticky; left: 12px; }
    td small { display: block; color: var(--muted); font-size: 0.8125rem; }
    .charts { display: grid; gap: 16px; grid-template-columns: minmax(0, 1fr); }
    @media (min-width: 840px) { .charts { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
    .card {
      margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
      padding: 14px 14px 10px;
    }
    .card p { margin: 0 0 6px; }
    .card > svg { display: block; width: 100%; height: auto; max-width: 560px; margin: 0 auto; }
    .legend { display: flex; flex-wrap: wrap; gap: 6px 26px; font-size: 0.875rem; margin: 6px 0; }
    .legend ul { list-style: none; margin: 0; padding: 0; }
    .legend li { display: flex; align-items: center; gap: 7px; line-height: 1.55; }
    .legend svg { width: 28px; height: 14px; flex: none; }
    .legend b { font-size: 0.8125rem; color: var(--muted); }
    .notes { margin: 8px 0 4px; padding-left: 18px; font-size: 0.8125rem; }
    .warnings {
      background: var(--warn-page); border: 1px solid var(--rule); border-left: 4px solid var(--warn);
      border-radius: 8px; padding: 12px 16px 12px 32px; margin: 0 0 14px;
    }
    .warnings li { margin: 3px 0; overflow-wrap: anywhere; }
    dl { display: grid; grid-template-columns: minmax(0, 1fr); margin: 0 0 14px; }
    dt { color: var(--muted); font-size: 0.8125rem; padding-top: 7px; }
    dd { margin: 0; overflow-wrap: anywhere; }
    @media (min-width: 620px) {
      dl { grid-template-columns: 11rem minmax(0, 1fr); row-gap: 5px; }
      dt { padding-top: 3px; }
    }
    summary { cursor: pointer; color: var(--accent); margin: 0 0 10px; }
    footer { margin: 44px 0 32px; color: var(--muted); font-size: 0.875rem; }
    svg text { font-family: inherit; }
    .tick { fill: var(--muted); font-size: 11px; } .small.tick { font-size: 9.5px; }
    .end { text-anchor: end; } .middle { text-anchor: middle; }
    .grid { stroke: var(--rule); stroke-width: 0.7; } .frame { stroke: var(--muted); }
    .guide { stroke: var(--muted); stroke-dasharray: 5 4; opacity: 0.7; }
    .front { fill: none; stroke: var(--muted); stroke-width: 1; opacity: 0.75; }
    .line { fill: none; stroke: currentColor; stroke-width: 1.7; stroke-linejoin: round; }
    .d1 { stroke-dasharray: 6 4; } .d2 { stroke-dasharray: 7 3 2 3; } .d3 { stroke-dasharray: 2 3; }
    .predicted { stroke-dasharray: 1.5 3.5; stroke-width: 1.2; }
    .bar { stroke: currentColor; stroke-width: 1; }
    .point { fill: currentColor; stroke: currentColor; stroke-width: 1.2; }
    .open { fill: var(--card); }
    .c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); }
    .c3 { color: var(--c3); } .c4 { color: var(--c4); } .c5 { color: var(--c5); }
    .c6 { color: var(--c6); } .c7 { color: var(--c7); } .c8 { color: var(--c8); }
    .c9 { color: var(--c9); } .c10 { color: var(--c10); } .c11 { color: var(--c11); }
    @media print { .table { overflow: visible; } .card { break-inside: avoid; } nav { display: none; } }
    """
}
