import ArgumentParser
import Attention
import Foundation
import TextTable

/// `attnbench list`: the strategies and what they take.
struct ListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Show the strategies, their parameters and their sources.",
    discussion: "Example: attnbench list --json")

  @Flag(help: "Print JSON.")
  var json = false

  mutating func run() throws {
    let strategies = StrategyRegistry.standard.families.map(ListedStrategy.init)
    if json {
      return try Terminal.print(json: strategies)
    }
    let table = TextTable<ListedStrategy> {
      [
        Column(title: "strategy", value: $0.name), Column(title: "class", value: $0.class),
        Column(title: "what it does", value: $0.summary),
      ]
    }
    try Terminal.print((table.string(for: strategies) ?? "").trimmingCharacters(in: .newlines))
    for strategy in strategies {
      try Terminal.print("")
      try Terminal.print("\(strategy.usage)")
      for parameter in strategy.parameters {
        try Terminal.print("  \(parameter.label): \(parameter.help)")
      }
      try Terminal.print("  \(strategy.source)")
    }
  }
}

/// What `list` says of one strategy.
private struct ListedStrategy: Encodable {
  struct Parameter: Encodable {
    let label: String
    let help: String
  }

  let name: String
  let `class`: String
  let summary: String
  let source: String
  let parameters: [Parameter]

  init(_ family: StrategyFamily) {
    name = family.name
    `class` = family.operatorClass.rawValue
    summary = family.summary
    source = family.source
    parameters = family.parameters.map { Parameter(label: $0.label, help: $0.help) }
  }

  /// `window(w, global, sinks, left, right)`.
  var usage: String {
    parameters.isEmpty ? name : "\(name)(\(parameters.map(\.label).joined(separator: ", ")))"
  }
}
