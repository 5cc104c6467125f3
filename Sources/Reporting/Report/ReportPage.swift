import Attention
import Choosing
import Foundation
import Measuring
import Records
import Statistics
import Units

/// One self-contained HTML page about a sweep: no script, nothing loaded from anywhere.
///
/// The page is XML as well, so that a test can read it as strictly as a browser is lenient.
public struct ReportPage: Sendable {
  let folder: SweepFolder
  let limits: [Double]
  let rows: PlotRows
  let settings: [ReportSetting]

  /// The relative errors that the choice is shown for, unless others are asked for.
  public static let defaultLimits = [1e-2, 1e-1, 1.0]

  /// A page about a folder.
  ///
  /// - Parameter limits: the largest relative L2 errors to choose under, rising.
  public init(_ folder: SweepFolder, limits: [Double] = Self.defaultLimits) {
    self.folder = folder
    self.limits = limits
    rows = PlotRows(folder.rows)
    settings = ReportSetting.all(rows)
  }

  public var html: String {
    let title = folder.metadata.map { "CPU attention on \($0.machine.cpuModel)" } ?? "CPU attention"
    let sections = [
      ("choice", "Which one to run", choice), ("curves", "Curves", curves),
      ("growth", "Growth", growth),
      ("cells", "All cells", cells), ("warnings", "Warnings", warnings),
      ("machine", "Machine and build", machine), ("again", "Measure it again", reproduction),
    ]
    return SectionedPage(title: title, headline: headline, sections: sections).html
  }

  /// What was measured, where and when, and how it went.
  private var headline: [Markup] {
    let sizes = Set(folder.rows.map(\.n)).sorted()
    guard let first = sizes.first, let last = sizes.last else {
      return [paragraph("No cell of this sweep has finished.", "lead")] + machineLine
    }
    let count = rows.strategies.count
    let range =
      first == last
      ? "n = \(SizeText.short(first))"
      : "n = \(SizeText.short(first)) to \(SizeText.short(last))"
    let threads =
      rows.threads.count > 1
      ? [rows.threads.reversed().map(String.init).joined(separator: " and ") + " threads"] : []
    let source = folder.metadata?.tensorSource.map { ["tensors of \($0)"] } ?? []
    let what =
      ["\(count) \(count == 1 ? "strategy" : "strategies")", range] + rows.commonText + threads
      + source
    return [paragraph(what.joined(separator: " · "), "lead")] + machineLine
      + [.element("ul", ["class": "counts"], counts)] + verdicts
  }

  private var machineLine: [Markup] {
    guard let metadata = folder.metadata else { return [] }
    let machine = metadata.machine
    let parts = [
      machine.hostname, "\(machine.cores) cores",
      ByteCount(max(0, machine.memoryTotalBytes)).rounded + " memory",
      "kernels " + metadata.isaChosen,
      "\(metadata.blas.library) (\(metadata.blas.core))", Self.dates(metadata),
    ]
    return [paragraph(parts.joined(separator: " · "), "muted")]
  }

  private var counts: [Markup] {
    let all = Markup.element("li", "\(folder.rows.count) cells")
    return [all]
      + Status.allCases.compactMap { status -> Markup? in
        let count = folder.rows.count { $0.status == status }
        return count == 0
          ? nil : .element("li", ["class": Self.tone(status)], "\(count) \(Self.name(status))")
      }
  }

  /// The largest size of a setting in a sentence; of many settings only the one with most cells.
  private var verdicts: [Markup] {
    let fullest = settings.max { $0.rows.count < $1.rows.count }.map { [$0] } ?? []
    return (settings.count > 2 ? fullest : settings).compactMap { setting in
      guard let choice = setting.choices(limits).last(where: { $0.exact != nil }),
        let exact = choice.exact
      else { return nil }
      let place = ["n = \(SizeText.short(choice.n))", setting.name].filter { !$0.isEmpty }
      var text: [Markup] = [
        .text("At \(place.joined(separator: ", ")) the fastest exact attention is "),
        .element("b", exact.strategy), .text(": \(TimeSpan.rounded(seconds: exact.seconds))."),
      ]
      // The tightest limit that another strategy meets in less time.
      let other = choice.within.compactMap { $0 }.first { $0.strategy != exact.strategy }
      if let other, other.seconds < exact.seconds, let error = other.error {
        text += [
          .text(" "), .element("b", other.strategy),
          .text(
            " takes \(TimeSpan.rounded(seconds: other.seconds)), "
              + "\(SignificantDigits.three(exact.seconds / other.seconds)) times less, at an error of "
              + "\(SignificantDigits.three(100 * error))% of the output."),
        ]
      }
      return .element("p", [:], text)
    }
  }

  /// Every kind of picture that the rows allow. Shapes that differ are not drawn into one: what they
  /// take says nothing about each other.
  private var curves: [Markup] {
    let shapes = ReportSetting.shapes(rows)
    if shapes.count <= 1 { return charts(folder.rows) }
    let most = shapes.map(\.rows.count).max()
    let open = shapes.firstIndex { $0.rows.count == most }
    return shapes.enumerated().map { place, shape in
      .element(
        "details", place == open ? ["open": "open"] : [:],
        [.element("summary", shape.name)] + charts(shape.rows))
    }
  }

  private func charts(_ rows: [ResultRow]) -> [Markup] {
    var charts: [Markup] = []
    var missing: [Markup] = []
    let ceilings = folder.metadata?.ceilings ?? []
    for kind in PlotKind.allCases {
      do throws(PlotError) {
        charts.append(
          Chart(
            try kind.figure(rows: rows, ceilings: ceilings), source: folder.metadata?.tensorSource
          ).markup)
      } catch {
        missing.append(.element("li", "\(error)"))
      }
    }
    let note = missing.isEmpty ? [] : [Markup.element("ul", ["class": "notes"], missing)]
    return [.element("div", ["class": "charts"], charts)] + note
  }
}

extension ReportPage {
  func paragraph(_ text: String, _ style: String) -> Markup {
    .element("p", ["class": style], text)
  }

  /// A row of a table that names the rows below it and stays in sight.
  func group(_ name: String, _ columnCount: Int) -> Markup {
    .element(
      "tr", ["class": "group"],
      [
        .element(
          "th", ["colspan": "\(columnCount)", "scope": "rowgroup"],
          [.element("span", ["class": "pinned"], name)])
      ])
  }

  static func name(_ status: Status) -> String {
    status.rawValue.replacing("_", with: " ")
  }

  /// The class of the style sheet that colours a status.
  static func tone(_ status: Status) -> String {
    switch status {
    case .ok: "ok"
    case .lowSamples, .noisy: "care"
    case .skippedTime, .skippedMemory, .interrupted: "skip"
    case .timeout, .error, .wrong: "bad"
    }
  }

  /// A relative error as a limit: `0.01`.
  static func limit(_ value: Double) -> String {
    value >= 1e-3 ? String(format: "%g", value) : String(format: "%.0e", value)
  }

  /// When a run took place: `21 November 2026, 00:23 to 00:29 UTC`.
  static func dates(_ metadata: RunMetadata) -> String {
    let style = Date.FormatStyle(locale: Locale(identifier: "en_GB"), timeZone: .gmt)
    func day(_ date: Date) -> String { date.formatted(style.day().month(.wide).year()) }
    func time(_ date: Date) -> String {
      date.formatted(style.hour(.twoDigits(amPM: .omitted)).minute(.twoDigits))
    }
    let start = metadata.startedAt
    guard let end = metadata.endedAt else { return "\(day(start)), \(time(start)) UTC" }
    let until = day(start) == day(end) ? time(end) : "\(day(end)), \(time(end))"
    return "\(day(start)), \(time(start)) to \(until) UTC"
  }
}
