import Attention
import Foundation
import Testing

/// Commands that only tell: list, topo, mask, help and version.
@Suite("Reports")
struct ReportCommandTests {
  @Test("list --json parses and has every strategy with its parameters")
  func listJSON() throws {
    struct Entry: Decodable {
      struct Parameter: Decodable {
        let label: String
        let help: String
      }
      let name: String
      let `class`: String
      let summary: String
      let source: String
      let parameters: [Parameter]
      let later_rows_decide: Bool
    }
    let result = try AttnbenchProcess.run(["list", "--json"])
    #expect(result.code == 0)
    let entries = try JSONDecoder().decode([Entry].self, from: Data(result.output.utf8))
    let families = StrategyRegistry.standard.families
    #expect(entries.map(\.name) == families.map(\.name))
    #expect(entries.map(\.class) == families.map(\.operatorClass.rawValue))
    #expect(entries.first?.name == "full" && entries.last?.class == "different")
    #expect(
      entries[2].parameters.map(\.label)
        == ["w", "global", "sinks", "left", "right", "arithmetic"])
    #expect(entries.allSatisfy { !$0.summary.isEmpty && !$0.source.isEmpty })
    #expect(entries.filter(\.later_rows_decide).map(\.name) == ["vertical_slash"])
  }

  @Test("list shows each strategy and its source")
  func list() throws {
    let result = try AttnbenchProcess.run(["list"])
    #expect(result.code == 0)
    #expect(result.error.isEmpty)
    #expect(result.output.contains("window(w, global, sinks, left, right, arithmetic)"))
    #expect(result.output.contains("arXiv 2006.16236"))
    #expect(
      result.outputLines.count { $0.contains("later rows decide for earlier ones") } == 1)
  }

  @Test("topo and doctor show the machine", arguments: ["topo", "doctor"])
  func topo(_ name: String) throws {
    let result = try AttnbenchProcess.run([name])
    #expect(result.code == 0)
    let labels = [
      "processor", "cores", "allowed", "NUMA", "caches", "limits", "memory", "BLAS", "kernels",
      "products",
      "blocks", "governor", "load",
    ]
    for label in labels {
      #expect(result.outputLines.contains { $0.hasPrefix(label + " ") }, "\(label)")
    }
    #expect(result.outputLines.contains { $0.hasPrefix("warnings:") })
  }

  @Test("topo warns of a forced instruction set")
  func forcedISA() throws {
    let result = try AttnbenchProcess.run(["topo"], environment: ["ATTNBENCH_ISA": "portable"])
    #expect(result.output.contains("kernels"))
    #expect(
      result.output.contains("ATTNBENCH_ISA=portable is set")
        || !result.output.contains("run here: avx"))
  }

  @Test("mask draws who sees whom")
  func mask() throws {
    let result = try AttnbenchProcess.run(
      ["mask", "--strategy", "window(3, sinks: 1)", "-n", "6", "--causal"])
    #expect(result.code == 0)
    #expect(
      result.outputLines == [
        "#.....",
        "##....",
        "###...",
        "####..",
        "#.###.",
        "#..###",
        "window(3, sinks: 1) [left 2, right 0], n6 causal: 18 of 36 pairs (50.0%), of the 21 "
          + "causal ones 85.7%",
        "one character a pair: # seen, . not",
      ])
  }

  @Test("mask follows offsets and key lengths")
  func maskOffset() throws {
    let result = try AttnbenchProcess.run(
      ["mask", "--strategy", "flash", "-n", "3", "--n-kv", "5", "--causal"])
    #expect(result.outputLines.prefix(3) == ["###..", "####.", "#####"])
    let shifted = try AttnbenchProcess.run(
      [
        "mask", "--strategy", "flash", "-n", "3", "--n-kv", "5", "--causal", "--query-offset",
        "-1",
      ])
    #expect(shifted.outputLines.prefix(3) == [".....", "#....", "##..."])
  }

  @Test("mask draws in blocks what does not fit, within COLUMNS")
  func maskBlocks() throws {
    let result = try AttnbenchProcess.run(
      ["mask", "--strategy", "flash", "-n", "1k", "--causal"], environment: ["COLUMNS": "20"])
    #expect(result.code == 0)
    let drawing = result.outputLines.prefix(10)
    #expect(drawing.allSatisfy { $0.count == 20 })
    #expect(drawing.last?.hasPrefix("##################") == true)
    #expect(drawing.first?.hasSuffix("..................") == true)
    #expect(result.output.contains("500500 of 1000000 pairs (50.0%)"))
    #expect(result.output.contains("one character: 100 queries x 50 keys"))
  }

  @Test("mask writes an SVG picture, and never replaces a device")
  func maskPicture() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let arguments = ["mask", "--strategy", "window(2)", "-n", "4", "--causal", "-o"]
    let result = try AttnbenchProcess.run(arguments + ["mask.svg"], in: directory.root)
    #expect(result.code == 0)
    let picture = try String(contentsOfFile: directory.path("mask.svg"), encoding: .utf8)
    let rectangles = picture.matches(of: /<rect [^>]*height="1"\/>/).map(\.output)
    #expect(
      rectangles == [
        #"<rect x="0" y="0" width="1" height="1"/>"#, #"<rect x="0" y="1" width="2" height="1"/>"#,
        #"<rect x="1" y="2" width="2" height="1"/>"#, #"<rect x="2" y="3" width="2" height="1"/>"#,
      ])
    #expect(picture.hasSuffix("</svg>\n"))

    let onDevice = try AttnbenchProcess.run(arguments + ["/dev/full"])
    #expect(onDevice.code == 1)
    #expect(onDevice.errorLines.count == 1)
    let device = try FileManager.default.attributesOfItem(atPath: "/dev/full")
    #expect(device[.type] as? FileAttributeType == .typeCharacterSpecial)
  }

  @Test("completions for three shells, and what the manual page is made of")
  func completions() throws {
    for shell in ["bash", "zsh", "fish"] {
      let script = try AttnbenchProcess.run(["--generate-completion-script", shell])
      #expect(script.code == 0)
      #expect(script.error.isEmpty)
      for word in ["sweep", "compare", "min-effect", "pct_of_peak"] {
        #expect(script.output.contains(word), "\(shell) \(word)")
      }
    }
    let description = try AttnbenchProcess.run(["--experimental-dump-help"])
    #expect(description.code == 0)
    #expect(try JSONSerialization.jsonObject(with: Data(description.output.utf8)) is [String: Any])
  }

  @Test("version and help are data")
  func help() throws {
    let version = try AttnbenchProcess.run(["--version"])
    #expect(version.code == 0)
    #expect(version.output.split(separator: ".").count == 3)
    for command in [
      "", "list", "topo", "mask", "verify", "run", "plot", "report", "sweep", "recommend",
      "retrieve",
      "compare",
    ] {
      let result = try AttnbenchProcess.run([command, "--help"].filter { !$0.isEmpty })
      #expect(result.code == 0)
      #expect(result.error.isEmpty)
      #expect(result.output.contains("Example: attnbench"), "\(command)")
    }
  }
}
