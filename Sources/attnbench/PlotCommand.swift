import ArgumentParser
import AttentionBench
import TensorFiles

/// `attnbench plot`: pictures of a sweep.
struct PlotCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plot",
    abstract: "Draw the results of a sweep with gnuplot.",
    discussion: """
      Each picture lies beside the gnuplot script that drew it; beside the scaling picture lie its \
      numbers: fits.csv, slopes.csv, crossovers.csv, predictions.csv.
      Example: attnbench plot out --kind scaling,speedup --format svg
      """)

  @Argument(help: "The directory that a sweep wrote.")
  var directory: String

  @Option(
    help: "Pictures: \(PlotKind.allCases.map(\.rawValue).joined(separator: ", ")) (default: all).")
  var kind: String?

  @Option(help: "Formats: svg, png (default: both).")
  var format: String?

  @Flag(help: "Draw in characters on the terminal; files only where -o asks for them.")
  var terminal = false

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: "Where the pictures go (default: beside the results).",
    transform: PathOption.parse)
  var output: String?

  /// Lines of a drawing in characters: a line of the legend a curve, and room for the curves.
  private static func lines(_ figure: Figure) -> Int {
    max(24, 16 + figure.curves.count(where: \.isListed))
  }

  mutating func run() throws {
    let kinds = try kind.map { try NameList.parse($0, option: "--kind") } ?? PlotKind.allCases
    let formats =
      try format.map { try NameList.parse($0, option: "--format") }
      ?? GnuplotScript.Format.allCases
    let results = try RunDirectory.readResults(in: directory)
    for note in results.notes { Terminal.say("note: \(note)") }
    let gnuplot = try Gnuplot()
    if output != nil || !terminal {
      try OutputTransaction.check(
        directory: output ?? directory,
        files: kinds.flatMap { kind in
          (["gp"] + formats.map(\.rawValue)).map { "\(kind.rawValue).\($0)" }
        } + (kinds.contains(.scaling) ? ScalingAnalysis.fileNames : []),
        reading: RunDirectory.Layout(directory).records)
    }
    let figures = try figures(kinds, results.rows)

    if terminal {
      for figure in figures {
        try Terminal.print(
          gnuplot.text(figure, columns: Terminal.columns, lines: Self.lines(figure)))
      }
      if output == nil { return }
    }
    let target = output ?? directory
    var files: [OutputFile] = []
    for figure in figures { files += try gnuplot.draw(figure, formats: formats, in: target) }
    if kinds.contains(.scaling) {
      let samples = try RunDirectory.readSamples(in: directory)
      for note in samples.notes { Terminal.say("note: \(note)") }
      files += ScalingAnalysis(rows: results.rows, samples: samples.rows).files(in: target)
    }
    try OutputTransaction(files, creating: output).write()
    for file in files { try Terminal.print(file.path) }
  }

  /// The figures that the rows allow. A kind that was asked for by name must be among them.
  private func figures(_ kinds: [PlotKind], _ rows: [ResultRow]) throws -> [Figure] {
    // A sweep that was killed early has no description yet; its rows can be drawn all the same.
    let metadata = try? RunDirectory.readMetadata(in: directory)
    var figures: [Figure] = []
    for kind in kinds {
      do throws(PlotError) {
        figures.append(
          try kind.figure(
            rows: rows, machine: metadata?.machine.cpuModel ?? "",
            ceilings: metadata?.ceilings ?? [], inputs: metadata?.tensorSource))
      } catch {
        guard self.kind == nil, case .nothingToDraw = error else { throw error }
        Terminal.say("note: \(error)")
      }
    }
    if figures.isEmpty { throw CommandFailure("\(directory): no picture could be drawn") }
    return figures
  }
}
