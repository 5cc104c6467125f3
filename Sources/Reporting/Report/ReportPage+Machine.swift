import Attention
import Choosing
import Foundation
import Measuring
import Records
import Statistics
import Units

extension ReportPage {
  /// The machine and the build, as the run described them.
  var machine: [Markup] {
    guard let metadata = folder.metadata else {
      return [paragraph("meta.json could not be read; see the warnings.", "muted")]
    }
    let machine = metadata.machine
    let caches = machine.caches.map { cache in
      let share = cache.sharedByCores > 1 ? " for \(cache.sharedByCores) cores" : ""
      return "\(cache.level) \(ByteCount(max(0, cache.bytes)).rounded)\(share)"
    }
    let limits = [
      machine.cgroupMemoryBytes.map { "\(ByteCount(max(0, $0)).rounded) memory" },
      machine.cgroupCPUs.map { "\(SignificantDigits.three($0)) cores" },
    ].compactMap { $0 }
    let build = metadata.build
    let commit = build.commit.map { $0 + (build.dirty == true ? " with changes" : "") }
    let entries: [(String, String?)] = [
      ("processor", machine.cpuModel), ("topology", machine.topologySummary),
      ("caches", caches.joined(separator: ", ")),
      (
        "memory",
        "\(ByteCount(max(0, machine.memoryTotalBytes)).rounded), "
          + "\(ByteCount(max(0, machine.memoryAvailableBytes)).rounded) available at the start"
      ),
      ("limits", limits.joined(separator: ", ")), ("governor", machine.governor),
      ("system", machine.system), ("host", machine.hostname),
      ("load", Self.load(metadata)),
      ("kernels", "\(metadata.isaChosen) of \(metadata.isaCompiled.joined(separator: ", "))"),
      (
        "BLAS",
        "\(metadata.blas.config), \(metadata.blas.core) kernel"
          + (metadata.blas.percentOfPeak.map {
            ", \(SignificantDigits.three($0))% of the FMA peak"
          } ?? "")
      ),
      ("environment", metadata.blas.environmentNote),
      ("attnbench", metadata.toolVersion), ("commit", commit),
      ("compiler", "\(build.compiler), \(build.compilerFlags)"),
      ("run", "\(metadata.runID), seed \(metadata.seed)"), ("when", Self.dates(metadata)),
    ]
    let list = entries.flatMap { name, value -> [Markup] in
      guard let value, !value.isEmpty else { return [] }
      return [.element("dt", name), .element("dd", value)]
    }
    return [.element("dl", [:], list)] + ceilings(metadata.ceilings ?? [])
  }

  private func ceilings(_ ceilings: [MachineCeiling]) -> [Markup] {
    guard !ceilings.isEmpty else { return [] }
    let products = Arithmetic.allCases.filter { arithmetic in
      ceilings.contains { $0.products[arithmetic] != nil }
    }
    let body = ceilings.map { ceiling -> Markup in
      func number(_ value: Double?) -> Markup {
        .element("td", ["class": "num"], value.map(SignificantDigits.three) ?? "")
      }
      return .element(
        "tr", [:],
        [
          .element("th", ["scope": "row", "class": "num"], SizeText.short(max(1, ceiling.n))),
          .element("td", ["class": "num"], "\(ceiling.threads)"), .element("td", ceiling.bind),
          number(ceiling.fmaGflopPerSecond),
        ] + products.map { number(ceiling.products[$0]) }
          + [number(ceiling.readGBPerSecond)])
    }
    return [
      .element("h3", "What the machine can do, measured among the cells"),
      .table(
        [
          (title: "n", isNumber: true), ("threads", true), ("bound to", false),
          ("FMA peak, GFLOP/s", true),
        ] + products.map { ("\($0.rawValue) peak, GFLOP/s", true) } + [("reading, GB/s", true)],
        body),
    ]
  }

  private static func load(_ metadata: RunMetadata) -> String? {
    func text(_ load: [Double]?) -> String? {
      load.map { $0.map(SignificantDigits.three).joined(separator: ", ") }
    }
    guard let before = text(metadata.loadBefore) else { return nil }
    return "\(before) before" + (text(metadata.loadAfter).map { "; \($0) after" } ?? "")
  }

  /// The command line as it was typed, and the options as they were understood.
  var reproduction: [Markup] {
    guard let metadata = folder.metadata else {
      return [paragraph("meta.json, which has the command line, could not be read.", "muted")]
    }
    let options = metadata.options.sorted { $0.key < $1.key }.map { name, value in
      Markup.element(
        "tr", [:], [.element("th", ["scope": "row"], name), .element("td", value)])
    }
    let command = metadata.argv.map(Self.shellQuoted).joined(separator: " ")
    let all = Markup.element(
      "details", [:],
      [
        .element("summary", "All options, defaults included"),
        .table([(title: "option", isNumber: false), ("value", false)], options),
      ])
    return [
      .element("pre", [:], [.element("code", command)]),
      paragraph(
        "results.csv has a row for every cell above, samples.csv every single time that was taken.",
        "small"),
    ] + (options.isEmpty ? [] : [all])
  }

  /// A word as a shell takes it back.
  private static func shellQuoted(_ word: String) -> String {
    let isPlain =
      !word.isEmpty
      && word.allSatisfy { character in
        character.isASCII
          && (character.isLetter || character.isNumber || "-_./,:=@%+".contains(character))
      }
    return isPlain ? word : "'" + word.replacing("'", with: "'\\''") + "'"
  }
}
