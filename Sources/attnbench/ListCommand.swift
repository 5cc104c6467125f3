import ArgumentParser
import Attention
import Foundation
import TextTable

/// `attnbench list`: the strategies and what they take.
package struct ListCommand: ParsableCommand {
  package static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Show the strategies, their parameters and their sources.",
    discussion: "Example: attnbench list --json")

  @Flag(help: "Print JSON.")
  var json = false

  package init() {}

  package mutating func run() throws {
    let strategies = CommandRegistry.current.families.map(ListedStrategy.init)
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
      for operand in strategy.operands { try Terminal.print("  \(operand.line)") }
      if strategy.laterRowsDecide {
        try Terminal.print("  later rows decide for earlier ones: no causal model of its own")
      }
      try Terminal.print("  \(strategy.source)")
    }
  }
}

/// What `list` says of one strategy.
package struct ListedStrategy: Encodable {
  struct Parameter: Encodable {
    let label: String
    let help: String
  }

  /// An operand beyond query, key and value.
  package struct Operand: Encodable {
    let name: String
    /// In letters: `[b, hKV, nKV]`.
    let shape: String
    let meaning: String
    /// The ends of the domain; nil for an infinite one, which JSON does not know.
    let minimum: Float?
    let maximum: Float?
    let optional: Bool

    init(_ operand: OperandDeclaration) {
      name = operand.name
      shape = operand.letters
      meaning = operand.meaning
      let domain = operand.domain
      minimum = domain.lowerBound.isFinite ? domain.lowerBound : nil
      maximum = domain.upperBound.isFinite ? domain.upperBound : nil
      optional = operand.isOptional
    }

    /// `operand decay [b, hKV, nKV], at most 0.0: the natural logarithm of ...`.
    package var line: String {
      let domain =
        switch (minimum, maximum) {
        case (nil, nil): ""
        case (let least?, nil): ", at least \(least)"
        case (nil, let most?): ", at most \(most)"
        case (let least?, let most?): ", from \(least) to \(most)"
        }
      return "operand \(name) \(shape)\(domain)\(optional ? ", optional" : ""): \(meaning)"
    }
  }

  let name: String
  let `class`: String
  let summary: String
  let source: String
  let parameters: [Parameter]
  package let operands: [Operand]
  package let laterRowsDecide: Bool

  private enum CodingKeys: String, CodingKey {
    case name
    case `class`
    case summary
    case source
    case parameters
    case operands
    case laterRowsDecide = "later_rows_decide"
  }

  package init(_ family: StrategyFamily) {
    name = family.name
    `class` = family.operatorClass.rawValue
    summary = family.summary
    source = family.source
    parameters = family.parameters.map { Parameter(label: $0.label, help: $0.help) }
    operands = family.operands.map(Operand.init)
    laterRowsDecide = family.laterRowsDecide
  }

  /// `window(w, global, sinks, left, right)`.
  var usage: String {
    parameters.isEmpty ? name : "\(name)(\(parameters.map(\.label).joined(separator: ", ")))"
  }
}
